import json

import pytest

from cdmllab import results
from cdmllab.book import benchmark_tables
from cdmllab.cli import bench

FROM = {
    "command": "cdmllab bench x",
    "date": "2026-01-02",
    "device": "Some CPU x 2",
    "threads": 1,
    "git_commit": "0123456789abcdef",
    "git_dirty": False,
    "versions": {"torch": "2.15.0"},
    "wall_s": 125.0,
}
HEADS = {
    "shapes": {
        "casia": {
            "batch": 128,
            "identities": 10_575,
            "dim": 512,
            "limit_ms": 30.0,
            "centre_gradient_mib": 20.0,
            "heads": [{"head": "ours, buffer", "ratio_to_limit": 1.731, "peak_mib": 31.7}],
        }
    }
}
SHARDED = {
    "shapes": {
        "casia": {
            "batch": 128, "identities": 10_575, "dim": 512, "ranks": 2, "blocked_ms": 61.0,
            "heads": [{"head": "sharded", "ratio_to_blocked": 0.62, "peak_mib": 17.0}],
        }
    }
}  # fmt: skip
RUN = {"ms": 60.0, "speed_up": 1.0, "ratio_to_r18": 1.0}
FAST = {"ms": 20.0, "speed_up": 3.0, "ratio_to_r18": 0.333}
BACKBONES = {
    "models": [
        {
            "backbone": "r18",
            "ways": [
                {"way": "eager", "cosine_min": 1.0, "batch_1": RUN},
                {"way": "openvino", "cosine_min": 0.9987, "batch_1": FAST},
            ],
        }
    ]
}
TRAINING = {
    "identities": 10_575,
    "models": [
        {
            "backbone": "r50",
            "batch": 32,
            "ways": [
                {
                    "way": "bf16",
                    "images_per_s": 7.25,
                    "ratio_to_eager": 2.5,
                    "ratio_to_arcface_torch": 1.75,
                }
            ],
        }
    ],
}
EVALUATION = {
    "tables": {
        "verification": {
            "pairs": 6_000, "dim": 512, "input_mib": 24,
            "cases": [{"case": "a loop", "seconds": 1.25, "ours_is_faster": 70.1, "peak_mib": 50},
                      {"case": "ours", "seconds": 0.018, "ours_is_faster": 1.0, "peak_mib": None}],
        }
    }
}  # fmt: skip
SEARCH = {
    "gallery": 1_000_000, "probes": 10_000, "k": 10, "dim": 512, "cores": 2, "faiss": "1.15.1",
    "cases": [{"case": "faiss, flat index", "seconds": 81.4, "ratio_to_peer": 1.0,
               "peak_mib": 1960},
              {"case": "the product alone", "seconds": 70.15, "ratio_to_peer": 0.862,
               "peak_mib": None}],
}  # fmt: skip
DATA = {
    "images": 8192, "mean_bytes": 4723, "shown": "LFW at 112 x 112", "bit_equal_to_pil": True,
    "ratios": {"decoding, ours to PIL": 1.968}, "per_second": {"decode: PIL": 6127.2},
}  # fmt: skip
FACES = {
    "processes": 2,
    "strength": 0.65,
    "images_per_s": [{"size": 32, "one_process": 500.0, "all_cores": 975.0}],
    "casia_shaped_world": {"images": 497_025, "seconds": 4200.0},
}
RECORDS = {
    "heads": (HEADS, ["| ours, buffer | 1.73 | 1.58 | 32 |", "10,575 identities", "30 ms"]),
    "heads_sharded": (SHARDED, ["| sharded | 0.62 | 17 |", "2 ranks", "61 ms"]),
    "backbones": (
        BACKBONES,
        ["| eager, time / R18's | 1.00 |", "| openvino | 3.00 |", "| openvino | 0.9987 |"],
    ),
    "training": (TRAINING, ["| bf16 | 1.75 | 2.50 | 7.2 |", "r50, batches of 32"]),
    "evaluation": (
        EVALUATION,
        ["| a loop | 1.25 | 70.1 | 50 |", "| ours | 0.018 | 1 |  |", "6,000 pairs"],
    ),
    "search": (
        SEARCH,
        [
            "| faiss, flat index | 81.4 | 1.00 | 1,960 |",
            "| the product alone | 70.2 | 0.86 |  |",
            "The 10 nearest of 1,000,000 gallery entries for 10,000 probes",
        ],
    ),
    "data": (DATA, ["| decoding, ours to PIL | 1.97 |", "| decode: PIL | 6,127 |", "bit for bit"]),
    "faces": (
        FACES,
        ["| 32\N{NO-BREAK SPACE}px | 500 | 975 | 1.95 of 2 |", "| 497,025 | 118 |", "4200 s"],
    ),
}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Writes a record as `cdmllab bench` does."""
    monkeypatch.setenv("CDMLLAB_RESULTS", str(tmp_path))
    (tmp_path / "benchmarks").mkdir()

    def keep(name, record, device="cpu"):
        (tmp_path / f"benchmarks/{name}-{device}.json").write_text(json.dumps(FROM | record))

    return keep


def test_every_benchmark_of_speed_has_its_tables():
    of_accuracy = {
        "lab",
        "lab_untrained",
        "lfw_baselines",
        "lfw_projection",
        "lfw_public",
        "photo_quality",
        "photos_landmarks",
    }
    assert set(benchmark_tables.BENCHMARKS) == set(RECORDS) == set(bench.names()) - of_accuracy


@pytest.mark.parametrize("name", RECORDS)
def test_report_has_tables_and_names_machine_date_commit_and_command(kept, name):
    record, expected = RECORDS[name]
    kept(name, record)
    text = benchmark_tables.report(name)._repr_markdown_()
    for words in (
        *expected,
        "2026-01-02",
        "in 2 minutes",
        "Some CPU x 2",
        "1 thread,",
        "`0123456789`",
        "cdmllab bench x",
    ):
        assert words in text, words


def test_report_names_what_was_not_measured_with_the_reason(kept):
    kept("backbones", BACKBONES | {"left_out": {"r34": "measured on another network"}})
    assert (
        benchmark_tables.report("backbones")
        ._repr_markdown_()
        .endswith("Not measured: r34, measured on another network.")
    )


@pytest.mark.parametrize("name", benchmark_tables.BENCHMARKS)
def test_missing_record_is_reported_with_the_command_that_creates_it(kept, name):
    assert (
        benchmark_tables.report(name)._repr_markdown_()
        == f"Not measured yet; run `cdmllab bench {name}`."
    )
    page = benchmark_tables.page(name)
    assert page.endswith(f"Not measured yet; run `cdmllab bench {name}`.")
    assert benchmark_tables.BENCHMARKS[name].peer in page


@pytest.mark.parametrize("name", benchmark_tables.BENCHMARKS)
def test_records_of_the_repository_are_read(name):
    if results.benchmark(name) is None:
        pytest.skip(f"{name} has not been measured")
    text = benchmark_tables.report(name)._repr_markdown_()
    assert text.count("| ---") >= 1
    assert "nan" not in text.lower().replace("arcface_torch", "")


def test_page_has_the_records_of_both_devices(kept):
    kept("heads", HEADS)
    kept("heads", {**HEADS, "device": "Some GPU", "git_dirty": True}, "cuda")
    page = benchmark_tables.page("heads")
    assert page.index("Some CPU") < page.index("Some GPU")
    assert page.count("uncommitted") == 1


def test_unknown_benchmark_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown benchmark 'haeds'.*'heads'"):
        benchmark_tables.report("haeds")
