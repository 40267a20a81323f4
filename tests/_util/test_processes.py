"""A script without a main guard, whose worker processes import it and start its work again."""

import os
import subprocess
import sys

import pytest

from cdmllab.runs import Run

TRAIN = """
from cdmllab import training
from cdmllab.training import Config

config = Config.parse({
    "name": "try",
    "data": {"name": "lab", "num_identities": 300, "images_per_identity": 2, "size": 32},
    "backbone": {"name": "small", "embedding_dim": 4, "size": 32, "width": 8},
    "loss": {"name": "arcface", "scale": 16.0},
    "epochs": 1,
    "batch_size": 300,
})
"""
GUARDED = 'if __name__ == "__main__":\n    training.train(config)\n'
SWEEP = """
from cdmllab.sweeps import Sweep, engines, load

with engines.local(1) as engine:
    Sweep(load("one.yaml"), None).run(engine)
"""
SPEC = """
about: a training of a second
preset: lab/cpu/arcface
settings:
  data: {name: digits}
  backbone: {name: small, embedding_dim: 4, size: 8, channels: 1, width: 8}
  epochs: 1
  watch: {validate_every: null, protocols: []}
retries: 0
stages:
  one: {protocols: [digits/known]}
"""


def run(folder, source):
    script = folder / "script.py"
    script.write_text(source)
    environment = {
        **os.environ,
        "CDMLLAB_DATA": str(folder),
        "CDMLLAB_RUNS": str(folder / "runs"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(autouse=True)
def _two_cores():
    if (os.cpu_count() or 1) < 2:
        pytest.skip("on one core nothing is rendered by other processes")


def test_training_outside_the_main_guard_is_refused_with_the_reason(tmp_path):
    done = run(tmp_path, TRAIN + "training.train(config)\n")
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("cdmllab.errors.CdmlLabError: a process that was rendering into ")
    assert 'put the call under `if __name__ == "__main__":`' in last
    assert "training.train was called while a worker process imports your script" in done.stderr
    assert not (tmp_path / "runs").exists()  # no run, and none from the workers


def test_same_training_under_its_guard_runs(tmp_path):
    done = run(tmp_path, TRAIN + GUARDED)
    assert done.returncode == 0, done.stderr
    (only,) = Run.list(tmp_path / "runs")
    assert only.status == "finished"


def test_sweep_outside_the_main_guard_is_refused_with_the_reason(tmp_path):
    (tmp_path / "one.yaml").write_text(SPEC)
    done = run(tmp_path, SWEEP)
    assert done.returncode != 0
    assert 'put the call under `if __name__ == "__main__":`' in done.stderr.strip().splitlines()[-1]
    assert "Sweep.run was called while a worker process imports your script" in done.stderr


def test_limit_is_never_above_the_one_in_force():
    code = (
        "import resource as r; from cdmllab._util.processes import limit\n"
        "r.setrlimit(r.RLIMIT_DATA, (2 << 30, 3 << 30))\n"
        "limit(r.RLIMIT_DATA, 4 << 30); print(r.getrlimit(r.RLIMIT_DATA))\n"
        "limit(r.RLIMIT_DATA, 1 << 30, 2 << 30); print(r.getrlimit(r.RLIMIT_DATA))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == [str((3 << 30, 3 << 30)), str((1 << 30, 2 << 30))], (
        done.stderr
    )
