"""Engines that run a sweep's trainings, and the effect of a kill."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import psutil
import pytest
from tests.sweeps.test_spec import DIGITS, written
from tests.waiting import LIMIT_S, until

from cdmllab.errors import CdmlLabError
from cdmllab.runs import Run
from cdmllab.sweeps import Sweep, engines, load

SLOW = {**DIGITS, "epochs": 8, "watch": {"checkpoint_every": 10, "log_every": 1}}


def test_local_processes_survive_the_kill_of_one(tmp_path):
    """A worker killed in its first training is restarted, and the other one is not affected."""
    spec = load(
        written(
            tmp_path, settings=SLOW, stages={"one": {"seeds": 3, "protocols": ["digits/known"]}}
        )
    )
    killed = []

    with engines.local(2, tmp_path) as engine:
        submit = engine.submit

        def watched(one):
            future = submit(one)
            if one.seed == 1 and not killed:
                killed.append(kill_the_trainer(tmp_path, "__s1__"))
            return future

        engine.submit = watched
        sweep = Sweep(spec, tmp_path)
        finished = sweep.run(engine)["one"]
    assert killed == [True]
    assert len(finished) == 3
    attempts = {row.task: row.attempts for row in sweep.rows()}
    assert attempts == {"one/s0": 1, "one/s1": 2, "one/s2": 1}
    assert (
        len([run for run in Run.list(tmp_path) if run.config["seed"] == 1]) == 1
    )  # continued, not started again


def test_a_local_ray(tmp_path):
    pytest.importorskip("ray")
    spec = load(written(tmp_path, stages={"one": {"seeds": 2, "protocols": ["digits/known"]}}))
    with engines.ray("local", tmp_path) as engine:
        assert engine.room >= 1
        sweep = Sweep(spec, tmp_path)
        finished = sweep.run(engine)["one"]
    assert len(finished) == 2
    assert all(one.measures["digits/known"]["accuracy"] > 0.5 for one in finished)
    assert {row.state for row in sweep.rows()} == {"finished"}
    assert json.loads((sweep.folder / "states.json").read_text())[0]["state"] == "finished"


def test_ray_that_does_not_start_is_one_sentence_and_keeps_no_handler(monkeypatch):
    ray = pytest.importorskip("ray")

    def init(**options):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(CdmlLabError, match="no Ray cluster at local: The current node timed out"),
        engines.ray("local"),
    ):
        pass
    assert signal.getsignal(signal.SIGTERM) == before != signal.SIG_IGN


def test_ray_workers_use_the_folders_of_the_process_that_started_the_sweep(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    options_given = {}
    monkeypatch.setattr(ray, "init", lambda **options: options_given.update(options))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CDMLLAB_RUNS", "mine")
    monkeypatch.setenv("CDMLLAB_DATA", "a:/b")
    with engines.ray("somewhere:1") as engine:
        assert engine.within == str(tmp_path / "mine")
    assert options_given["runtime_env"]["env_vars"] == {
        "CDMLLAB_RUNS": str(tmp_path / "mine"),
        "CDMLLAB_DATA": f"{tmp_path / 'a'}:/b",
    }


def test_only_a_dead_process_is_retried():
    ray = pytest.importorskip("ray")
    assert engines.died(BrokenProcessPool("dead"))
    assert engines.died(ray.exceptions.WorkerCrashedError())
    assert not engines.died(RuntimeError("CUDA out of memory"))
    assert not engines.died(
        ray.exceptions.RayTaskError("f", "traceback", RuntimeError("CUDA out of memory"))
    )


def kill_the_trainer(within, part):
    """Kill the process that trains the run whose folder has `part` in its name, once it has a
    checkpoint.
    """
    until(lambda: list(within.glob(f"*{part}*/checkpoints/step-*")))
    (folder,) = within.glob(f"*{part}*")
    for child in psutil.Process().children(recursive=True):
        if any(str(folder) in file.path for file in child.open_files()):  # its lock
            os.kill(child.pid, signal.SIGKILL)
            return True
    return False


def test_processes_end_with_the_sweep_that_is_killed(tmp_path):
    """No orphan continues training, since it would collide with a restart of the sweep."""
    path = written(tmp_path, settings=SLOW, stages={"one": {"seeds": 2}})
    environment = {**os.environ, "CDMLLAB_RUNS": str(tmp_path / "runs"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cdmllab", "sweep", str(path), "--workers", "2"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    until(lambda: list((tmp_path / "runs").glob("*/checkpoints/step-*")), process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=LIMIT_S)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("finished") == 2
    assert len(list(Run.list(tmp_path / "runs"))) == 2  # continued, not started again
