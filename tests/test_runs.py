import json
import subprocess

import numpy as np
import pytest

from cdmllab import runs
from cdmllab.runs import Run


def finished(tmp_path, seed=0, **config):
    run = Run.create("lab/try", seed, {"seed": seed, **config}, within=tmp_path)
    run.finish()
    return run


def test_run_folder_tells_what_it_is(tmp_path):
    run = Run.create("lab/try", 3, {"lr": 0.1, "steps": (1, 2)} | {"steps": [1, 2]}, within=tmp_path)
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


def test_a_last_line_cut_short_is_left_out(tmp_path):
    run = Run.create("a", 0, {}, within=tmp_path)
    run.log(step=1)
    with (run.folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 2, "lo')
    assert run.metrics()["step"].tolist() == [1]


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    run = Run.create("a", 0, {}, within=tmp_path)
    (run.folder / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is not JSON"):
        run.metrics()


def test_find_wants_the_same_config_and_a_finished_run(tmp_path):
    Run.create("a", 0, {"seed": 0, "lr": 0.1}, within=tmp_path)
    assert Run.find({"seed": 0, "lr": 0.1}, within=tmp_path) is None
    run = finished(tmp_path, lr=0.1)
    assert Run.find({"seed": 0, "lr": 0.1}, within=tmp_path).folder == run.folder
    assert Run.find({"seed": 0, "lr": 0.2}, within=tmp_path) is None


def test_list_is_oldest_first_whatever_the_name(tmp_path):
    folders = [Run.create(name, 0, {}, within=tmp_path).folder for name in "cab"]
    assert [run.folder for run in Run.list(tmp_path)] == folders


def test_open_refuses_what_is_not_a_run(tmp_path):
    with pytest.raises(ValueError, match=r"is not a run: it has no config\.yaml"):
        Run.open(tmp_path)


def test_open_names_an_unreadable_record(tmp_path):
    run = finished(tmp_path)
    (run.folder / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is not readable JSON"):
        Run.open(run.folder)


def test_finish_keeps_where_the_run_came_from(tmp_path):
    run = Run.create("a", 0, {}, within=tmp_path)
    before = run.record
    run.finish("failed", error="x")
    after = json.loads((run.folder / "run.json").read_text())
    assert after["status"] == "failed"
    assert after["git_commit"] == before["git_commit"]
    assert after["ended"] > before["started"]


def test_a_run_that_goes_on_stays_dirty_keeps_its_commits_and_forgets_its_error(tmp_path, monkeypatch):
    told = {"git_commit": "a", "git_dirty": True}
    monkeypatch.setattr(runs, "provenance", lambda: dict(told))
    run = Run.create("a", 0, {}, within=tmp_path)
    run.finish("failed", error="x")
    told |= {"git_commit": "b", "git_dirty": False}
    run.restart()
    assert (run.status, run.record["git_commit"], run.record["git_dirty"]) == ("running", "b", True)
    assert run.record["earlier_commits"] == ["a"]
    assert not {"error", "ended"} & set(run.record)
    run.restart()
    assert run.record["earlier_commits"] == ["a"]


def test_a_measurement_does_not_make_the_next_one_dirty_and_code_does(tmp_path, monkeypatch):
    """A repository with the package's layout, since provenance asks about the package's own."""
    package = tmp_path / "src/cdmllab"
    (tmp_path / "results/benchmarks").mkdir(parents=True)
    package.mkdir(parents=True)
    record, code = tmp_path / "results/benchmarks/heads-cpu.json", package / "runs.py"
    record.write_text("1")
    code.write_text("1")
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    monkeypatch.setattr(runs, "__file__", str(code))
    assert runs.provenance()["git_dirty"] is False
    record.write_text("2")
    assert runs.provenance()["git_dirty"] is False
    code.write_text("2")
    assert runs.provenance()["git_dirty"] is True


def test_a_copy_without_git_names_the_commit_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "runs.py"))
    monkeypatch.delenv("CDMLLAB_COMMIT", raising=False)
    assert runs.provenance()["git_commit"] is None
    monkeypatch.setenv("CDMLLAB_COMMIT", "0123abc")
    assert runs.provenance()["git_commit"] == "0123abc"
