import hashlib
import json

import numpy as np
import pytest

from cdmllab import runs
from cdmllab.errors import DataError
from cdmllab.runs import Run


def finished(tmp_path, seed=0, **config):
    run = Run.create("lab/try", seed, {"seed": seed, **config}, within=tmp_path)
    run.finish()
    return run


def test_run_folder_describes_itself(tmp_path):
    run = Run.create(
        "lab/try", 3, {"lr": 0.1, "steps": (1, 2)} | {"steps": [1, 2]}, within=tmp_path
    )
    assert run.folder.name.startswith("lab-try__s3__")
    assert run.config == {"lr": 0.1, "steps": [1, 2]}
    assert run.status == "running"
    record = run.record
    assert {"git_commit", "git_dirty", "versions", "machine", "started"} <= set(record)
    assert {"python", "torch", "numpy", "cdmllab"} <= set(record["versions"])


def test_metrics_come_back_as_columns(tmp_path):
    run = Run.create("a", 0, {}, within=tmp_path)
    run.log(step=1, loss=2.5)
    run.log(step=2, loss=1.5, accuracy=0.5)
    m = run.metrics()
    assert m["loss"].tolist() == [2.5, 1.5]
    assert np.isnan(m["accuracy"][0])


def test_incomplete_last_line_is_ignored(tmp_path):
    run = Run.create("a", 0, {}, within=tmp_path)
    run.log(step=1)
    with (run.folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 2, "lo')
    assert run.metrics()["step"].tolist() == [1]


def test_broken_line_in_the_middle_is_named(tmp_path):
    run = Run.create("a", 0, {}, within=tmp_path)
    (run.folder / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is not a JSON object"):
        run.metrics()


def test_find_needs_the_same_config_and_a_finished_run(tmp_path):
    Run.create("a", 0, {"seed": 0, "lr": 0.1}, within=tmp_path)
    assert Run.find({"seed": 0, "lr": 0.1}, within=tmp_path) is None
    run = finished(tmp_path, lr=0.1)
    assert Run.find({"seed": 0, "lr": 0.1}, within=tmp_path).folder == run.folder
    assert Run.find({"seed": 0, "lr": 0.2}, within=tmp_path) is None


def test_list_is_oldest_first_whatever_the_name(tmp_path):
    folders = [Run.create(name, 0, {}, within=tmp_path).folder for name in "cab"]
    assert [run.folder for run in Run.list(tmp_path)] == folders


def test_open_refuses_a_folder_that_is_not_a_run(tmp_path):
    with pytest.raises(ValueError, match=r"is not a run: it has no config\.yaml"):
        Run.open(tmp_path)


def test_open_names_an_unreadable_record(tmp_path):
    run = finished(tmp_path)
    (run.folder / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is not readable JSON"):
        Run.open(run.folder)


def test_finish_keeps_the_provenance_of_the_run(tmp_path):
    run = Run.create("a", 0, {}, within=tmp_path)
    before = run.record
    run.finish("failed", error="x")
    after = json.loads((run.folder / "run.json").read_text())
    assert after["status"] == "failed"
    assert after["git_commit"] == before["git_commit"]
    assert after["ended"] > before["started"]


def test_resumed_run_stays_dirty_keeps_its_commits_and_drops_its_error(tmp_path, monkeypatch):
    facts = {"git_commit": "a", "git_dirty": True, "citable": False}
    monkeypatch.setattr(runs, "provenance", lambda: dict(facts))
    run = Run.create("a", 0, {}, within=tmp_path)
    run.finish("failed", error="x")
    facts |= {"git_commit": "b", "git_dirty": False, "citable": True}
    run.restart()
    assert (run.status, run.record["git_commit"], run.record["git_dirty"]) == ("running", "b", True)
    assert run.record["earlier_commits"] == ["a"]
    assert run.record["citable"] is False
    assert not {"error", "ended"} & set(run.record)
    run.restart()
    assert run.record["earlier_commits"] == ["a"]


def test_run_started_at_an_unknown_commit_stays_uncitable(tmp_path, monkeypatch):
    facts = {"git_commit": "unknown", "git_dirty": None, "citable": False}
    monkeypatch.setattr(runs, "provenance", lambda: dict(facts))
    run = Run.create("a", 0, {}, within=tmp_path)
    facts |= {"git_commit": "b", "git_dirty": False, "citable": True}
    run.restart()
    assert run.record["earlier_commits"] == ["unknown"]
    assert (run.record["git_dirty"], run.record["citable"]) == (False, False)


def test_resumed_clean_run_stays_citable_even_one_of_an_earlier_version(tmp_path, monkeypatch):
    clean = {"git_commit": "b", "git_dirty": False, "citable": True}
    monkeypatch.setattr(runs, "provenance", lambda: dict(clean))
    run = Run.create("a", 0, {}, within=tmp_path)
    run.restart()
    assert run.record["citable"] is True
    record = {key: value for key, value in run.record.items() if key != "citable"}
    (run.folder / "run.json").write_text(json.dumps(record))
    run.restart()
    assert run.record["citable"] is True
    (run.folder / "run.json").write_text(json.dumps(record | {"git_commit": None}))
    run.restart()
    assert run.record["citable"] is False


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '"finished"', '{"status": 3}', b"\xff\xfe", None]
)
def test_folder_that_is_not_a_run_is_skipped_with_a_message(tmp_path, content):
    """A folder that another program left among the runs; None is a folder of that name."""
    run = finished(tmp_path, lr=0.1)
    stranger = tmp_path / "another__program"
    stranger.mkdir()
    (stranger / "config.yaml").write_text("{}")
    if content is None:
        (stranger / "run.json").mkdir()
    else:
        (stranger / "run.json").write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    messages = []
    assert [listed.folder for listed in Run.list(tmp_path, messages.append)] == [run.folder]
    assert len(messages) == 1
    assert str(stranger) in messages[0]
    with pytest.warns(UserWarning, match="skipped .*another__program, which is not a run"):
        assert Run.find({"seed": 0, "lr": 0.1}, within=tmp_path).folder == run.folder


@pytest.mark.parametrize("content", [None, "", "- 1", "a: [", b"\xff"])
def test_record_without_a_readable_config_is_skipped_too(tmp_path, content):
    run, broken = finished(tmp_path), finished(tmp_path)
    (broken.folder / "config.yaml").unlink()
    if content is not None:
        (broken.folder / "config.yaml").write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    messages = []
    assert [listed.folder for listed in Run.list(tmp_path, messages.append)] == [run.folder]
    assert len(messages) == 1
    assert "config.yaml" in messages[0]


def test_open_refuses_a_record_without_a_status(tmp_path):
    run = finished(tmp_path)
    (run.folder / "run.json").write_text("[]")
    with pytest.raises(ValueError, match=r"run\.json has no status"):
        Run.open(run.folder)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("lab/cpu/arcface", "lab-cpu-arcface__s0__"),
        ("C:\\faces\\try", "C-faces-try__s0__"),
        ("../../outside", "outside__s0__"),
        ("a\nb", "a-b__s0__"),
        ("..", "run__s0__"),
        ("ü" * 200, "ü" * 60 + "__s0__"),
    ],
)
def test_every_name_gives_a_folder_inside_the_runs(tmp_path, name, begins):
    folder = Run.create(name, 0, {}, within=tmp_path).folder
    assert folder.parent == tmp_path
    assert folder.name.startswith(begins)


def test_finding_a_run_reads_each_once_and_notices_changes(tmp_path, monkeypatch):
    """A sweep of a thousand runs searches a thousand times, and reading YAML is slow."""
    read = []
    monkeypatch.setattr(runs, "read_yaml", lambda path: read.append(path) or {"seed": -1})
    made = [finished(tmp_path, seed) for seed in range(5)]
    assert Run.find({"seed": 3}, within=tmp_path).folder == made[3].folder
    assert read == []
    (made[3].folder / "config.yaml").write_text("seed: -1\n")
    for _ in range(2):
        assert Run.find({"seed": 3}, within=tmp_path) is None
        assert Run.find({"seed": -1}, within=tmp_path).folder == made[3].folder
    assert read == [made[3].folder / "config.yaml"]
    made[2].finish("failed")
    assert Run.find({"seed": 2}, within=tmp_path) is None


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "checkpoints", "eval/x.json"])
def test_run_with_a_link_is_refused_and_skipped(tmp_path, name):
    """Following it, a resumed run would write or delete outside of its folder."""
    run, other = finished(tmp_path / "runs"), finished(tmp_path / "runs")
    (tmp_path / "outside").mkdir()
    (run.folder / "eval").mkdir()
    (run.folder / name).unlink(missing_ok=True)
    (run.folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match=f"{name} is a link"):
        Run.open(run.folder)
    messages = []
    kept = [one.folder for one in Run.list(tmp_path / "runs", messages.append)]
    assert kept == [other.folder]
    assert name in messages[0]


def test_metrics_with_different_names_in_every_line_are_refused(tmp_path):
    """A table of them would be far larger than their file."""
    run = finished(tmp_path)
    lines = [json.dumps({f"{row}-{n}": 0 for n in range(2_000)}) for row in range(200)]
    (run.folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"200 lines with 400,000 different names"):
        run.metrics()


def test_run_has_the_config_of_its_record_whatever_its_text(tmp_path):
    """Comparing configs reads the record only, so a text that is no YAML spoils nothing."""
    run = finished(tmp_path, lr=0.1)
    text = b"a: [\n"
    (run.folder / "config.yaml").write_bytes(text)
    run.note(config_sha256=hashlib.sha256(text).hexdigest())
    assert run.has({"seed": 0, "lr": 0.1})
    assert not run.has({"seed": 1, "lr": 0.1})
