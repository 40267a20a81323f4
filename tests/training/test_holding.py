"""One process per config and per run's folder, and the record of how it ended."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch.distributed as dist
import yaml
from tests.training.test_resume import PLAIN, config, interrupted

from cdmllab.errors import CdmlLabError
from cdmllab.runs import Run
from cdmllab.training import checkpoint, distributed, entry, holding, resume, train
from cdmllab.training.distributed import Place

HERE = Place("cpu")


def run_of(folder, **changes):
    return Run.create("digits", 0, config(**changes).flat(), within=folder)


def test_two_equal_trainings_train_once(tmp_path, monkeypatch):
    """The second waits for the first with a message, and returns its run."""
    messages, done, began, proceed = [], [], threading.Event(), threading.Event()
    fit = entry._fit

    def slow(*arguments):
        began.set()
        assert proceed.wait(60)
        fit(*arguments)

    def report(line):
        messages.append(line)
        proceed.set()

    monkeypatch.setattr(entry, "_fit", slow)
    first = threading.Thread(target=lambda: done.append(train(config(epochs=2), within=tmp_path)))
    first.start()
    assert began.wait(60)
    second = train(config(epochs=2), within=tmp_path, report=report)
    first.join()
    (run,) = Run.list(tmp_path)
    assert {run.folder} == {second.run.folder, done[0].run.folder}
    waiting, reused = messages
    assert waiting.startswith(
        f"another process is training this config in {run.folder}; waiting for it to end"
    )
    assert reused == f"{run.folder} has this config and is finished"


def test_training_of_another_config_does_not_wait(tmp_path):
    with holding.claimed(config(seed=1), tmp_path, HERE, print, wait=True):
        assert (
            train(config(epochs=2), within=tmp_path, report=lambda line: None).run.status
            == "finished"
        )


def test_redo_does_not_wait(tmp_path):
    with holding.claimed(config(epochs=2), tmp_path, HERE, print, wait=True):
        assert train(config(epochs=2), within=tmp_path, redo=True).run.status == "finished"


@pytest.mark.parametrize("world_size", [1, 2])
def test_training_that_cannot_wait_is_refused_with_the_run_named(tmp_path, world_size):
    run = run_of(tmp_path)
    with holding.claimed(config(), tmp_path, HERE, print, wait=True):
        second = holding.claimed(
            config(), tmp_path, Place("cpu", 0, world_size), print, wait=world_size > 1
        )
        with (
            pytest.raises(
                CdmlLabError, match=f"is training this config in {run.folder}: wait for it to end"
            ),
            second,
        ):
            pass


def test_leftovers_of_a_killed_run_are_removed_when_it_resumes(tmp_path, monkeypatch):
    run = interrupted(monkeypatch, tmp_path, 8)
    for name in ("checkpoints/.step-00000099.tmp", ".head.tmp"):
        (run.folder / name).mkdir()
        (run.folder / name / "rank-00000.safetensors").write_bytes(b"half")
    for name in (".run.json.0a1b2c3d.tmp", ".backbone.safetensors.ffffffff.tmp"):
        (run.folder / name).write_text("half")
    (run.folder / "my.tmp").write_text("not ours")
    resume(run.folder)
    assert not list(run.folder.rglob(".*tmp"))
    assert (run.folder / "my.tmp").exists()


class UnforeseenError(Exception):
    """An error that is not caught anywhere."""


def test_unexpected_error_leaves_its_traceback_in_the_run(tmp_path):
    run = run_of(tmp_path)
    with pytest.raises(UnforeseenError), holding.held(run, HERE, again=False):
        raise UnforeseenError("x" * 100_000)
    assert run.status == "failed"
    assert len(run.record["error"]) < 1100
    (kept,) = run.folder.glob("cdmllab-error-*.txt")
    assert "test_unexpected_error" in kept.read_text()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[../third_party/gloo/gloo/transport/tcp/pair.cc:545] Connection closed by peer "
            "[127.0.0.1]:1"
        ),
        RuntimeError(
            "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error: Connection "
            "reset by peer"
        ),
        dist.DistBackendError(
            "NCCL error in: ProcessGroupNCCL.cpp:1, remote process exited or there was a network "
            "error"
        ),
        dist.DistNetworkError("failed to recv, got 0 bytes"),
    ],
)
def test_lost_process_is_reported_as_such(tmp_path, error):
    run = run_of(tmp_path)
    sentence = "another process of this training ended"
    with pytest.raises(CdmlLabError, match=sentence), holding.held(run, HERE, again=False):
        raise error
    assert sentence in run.record["error"]
    assert distributed.lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None


def test_a_second_signal_does_not_spoil_the_record(tmp_path, monkeypatch):
    run, finish = run_of(tmp_path), Run.finish

    def disturbed(*arguments, **facts):
        monkeypatch.setattr(Run, "finish", finish)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "finish", disturbed)
    with pytest.raises(KeyboardInterrupt), holding.held(run, HERE, again=False):
        raise KeyboardInterrupt
    assert run.status == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_training_stopped_by_a_signal_resumes(tmp_path, number):
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**PLAIN, "epochs": 40}))
    environment = {**os.environ, "CDMLLAB_RUNS": str(tmp_path / "runs"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cdmllab", "train", str(tmp_path / "own.yaml")]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and not list((tmp_path / "runs").glob("*/checkpoints/step-*")):
        time.sleep(0.05)
    process.send_signal(number)
    stderr = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + number
    assert stderr.strip() == "cdmllab: stopped; finished work is kept"
    (run,) = Run.list(tmp_path / "runs")
    assert run.status == "stopped"
    assert run.record["error"] == (
        "KeyboardInterrupt:" if number == signal.SIGINT else f"Stopped: by {number.name}"
    )
    assert all(checkpoint.damage(kept) == "" for kept in checkpoint.steps(run.folder))
    if number == signal.SIGTERM:
        assert resume(run.folder).run.status == "finished"
        assert "error" not in run.record


def test_locks_behind_a_link_are_refused(tmp_path):
    """A lock file would be created where the link leads."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/.locks").symlink_to(tmp_path / "outside")
    claim = holding.claimed(config(), tmp_path / "runs", HERE, print, wait=True)
    with pytest.raises(CdmlLabError, match=r"runs/\.locks is a link"), claim:
        pass
    assert list((tmp_path / "outside").iterdir()) == []
