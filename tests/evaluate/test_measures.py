"""The measures of an evaluation are typed, and their JSON form stays what it was."""

import json
import subprocess
import sys

import pytest
from tests.evaluate.small_protocols import Flat, protocol, templates

from cdmllab import evaluate
from cdmllab.errors import DataError
from cdmllab.evaluate import Measures, cached, protocols

ESTIMATE = {"value": 0.9, "interval": None}
RECORD = {
    "protocol": "lfw",
    "flip": True,
    "images": 4,
    "genuine_pairs": 2,
    "impostor_pairs": 2,
    "accuracy": {
        "value": 0.75,
        "interval": [0.5, 1.0],
        "std_over_folds": 0.25,
        "per_fold": [0.5, 1.0],
        "thresholds_cos": [0.3, 0.4],
        "arcface_torch_rule": {
            "value": 0.5,
            "std_over_folds": 0.0,
            "thresholds_squared_l2": [1.4, 1.2],
            "difference": -0.25,
        },
    },
    "auc": ESTIMATE,
    "eer": {"value": 0.1, "interval": [0.05, 0.2]},
    "tar_at_far": [
        {
            "far": 0.5,
            "value": 0.9,
            "interval": None,
            "threshold_cos": ESTIMATE,
            "arcface_torch_rule": ESTIMATE | {"far": 0.5, "difference": 0.0},
        },
        {"far": 0.001, "value": None, "reason": "2 impostor pairs cannot resolve it"},
    ],
    "intervals": {
        "replicates": 100,
        "confidence": 0.95,
        "seed": 0,
        "over": "pairs",
        "note": "there are only 2 identities",
    },
    "identification": {
        "gallery": 2,
        "probes_with_mate": 1,
        "probes_without": 1,
        "rank": [{"k": 1, "value": 1.0}],
        "tpir_at_fpir": [{"fpir": 0.1, "value": 0.5}],
    },
    "git_commit": "abc",
    "git_dirty": None,
    "citable": False,
    "versions": {"python": "3.11"},
    "machine": "Linux x86_64",
    "processor": "some CPU x 2",
    "nuisances": {
        "yaw": {
            "larger": {
                "edges": [0.0, 1.0],
                "genuine": {"rate": [0.5], "low": [0.1], "high": [0.9], "pairs": [2]},
                "impostor": {"rate": [None], "low": [None], "high": [None], "pairs": [0]},
            }
        }
    },
    "made_with": {
        "weights_sha256": "aa",
        "protocol_sha256": "bb",
        "preprocessing": {"channels": "RGB", "mean": [0.5], "size": 112},
        "replicates": 100,
        "seed": 0,
    },
    "copy": {"name": "insightface's", "sha256": "cc"},
    "decision": {
        "threshold_from": "agedb",
        "wanted_far": 0.001,
        "threshold_cos": 0.3,
        "far": {"value": 0.5, "interval": [0.1, 0.9], "pairs": 2},
        "tar": {"value": 0.5, "interval": [0.1, 0.9], "pairs": 2},
    },
}
EARLIER = {  # before identification, the second rule and the digests
    **{key: RECORD[key] for key in list(RECORD)[:8]},
    "accuracy": None,
    "tar_at_far": [{"far": 0.5, "value": 0.9, "interval": None}],
    "intervals": None,
    "identification": {"reason": "the identities are unknown"},
    "git_commit": None,
    "a key of a later version": [1, 2],
}
EARLIER_NAMES = {"pictures" if key == "images" else key: RECORD[key] for key in RECORD}


@pytest.mark.parametrize("record", [RECORD, EARLIER], ids=["complete", "earlier"])
def test_measures_come_back_from_json_byte_for_byte(record):
    again = Measures.from_json(record).to_json()
    assert json.dumps(again) == json.dumps(record)


def test_record_that_calls_images_pictures_is_read():
    assert Measures.from_json(EARLIER_NAMES).to_json() == RECORD


def test_evaluation_writes_the_keys_of_the_record_in_their_order(tmp_path, monkeypatch):
    p = protocol(copy={"sha256": "cc"})
    monkeypatch.setattr(protocols, "load", lambda *args: p)
    settings = cached.Settings(replicates=20)
    done, _, _ = cached.evaluate(Flat(), "people", tmp_path, settings)
    other = evaluate.evaluate(done_embeddings(p), protocol(name="other"), replicates=0)
    written = json.loads(cached.decide(done, other, 0.05).write(tmp_path).read_text())
    assert list(written) == list(RECORD)
    for key in ("accuracy", "auc", "intervals", "identification", "made_with", "decision"):
        assert list(written[key]) == list(RECORD[key]), key
    unresolved, *_, resolved = written["tar_at_far"]
    assert list(resolved) == list(RECORD["tar_at_far"][0])
    assert list(unresolved) == list(RECORD["tar_at_far"][1])
    assert list(written["nuisances"]["noise"]["apart"]) == ["edges", "genuine", "impostor"]


def done_embeddings(p):
    return evaluate.embed(Flat(), p.images).numpy()


def test_absent_accuracy_and_intervals_are_null_in_json():
    p = templates()
    record = evaluate.evaluate(done_embeddings(p), p, replicates=0).measures.to_json()
    assert record["accuracy"] is None  # one fold
    assert record["intervals"] is None
    assert record["auc"]["interval"] is None
    assert "nuisances" not in record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auc": {"value": "0.9"}}, "auc.value: Input should be a valid number"),
        ({"tar_at_far": [{"value": None}]}, "tar_at_far.0.far: Field required"),
        ({"images": None}, "images: Input should be a valid integer"),
    ],
)
def test_wrong_record_names_its_file_and_key(tmp_path, change, message):
    path = tmp_path / "lfw.json"
    path.write_text(json.dumps(RECORD | change))
    with pytest.raises(DataError) as caught:
        Measures.read(path)
    assert str(caught.value) == f"{path} is not an evaluation: {message}"


USER = """
from cdmllab.evaluate import Evaluation

done = Evaluation.read("lfw.json")
print(done.measures.auc.value, done.measures.tar_at_far[0].far)
if done.measures.accuracy is not None:
    print(done.measures.accuracy.std_over_folds)
"""


def test_strict_mypy_sees_a_typo_in_the_name_of_a_measure(tmp_path):
    (tmp_path / "right.py").write_text(USER)
    (tmp_path / "typo.py").write_text(USER.replace("std_over_folds", "std_over_fold"))
    (tmp_path / "absent.py").write_text(
        USER.replace("if done.measures.accuracy is not None:", "if True:")
    )
    options = ["--strict", "--cache-dir", str(tmp_path / "cache"), "--config-file", ""]
    files = [str(path) for path in sorted(tmp_path.glob("*.py"))]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *files], capture_output=True, text=True
    )
    errors = sorted(line for line in done.stdout.splitlines() if ": error:" in line)
    assert len(errors) == 2, done.stdout + done.stderr
    assert "absent.py:7" in errors[0]
    assert 'Item "None" of "Accuracy | None" has no attribute "std_over_folds"' in errors[0]
    assert "typo.py:7" in errors[1]
    assert '"Accuracy" has no attribute "std_over_fold"; maybe "std_over_folds"?' in errors[1]
