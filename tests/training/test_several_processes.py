"""torchrun on the CPU: split class centres, kills, and resuming with other numbers of processes."""

import os
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch
import yaml
from tests.waiting import LIMIT_S, until

from cdmllab.runs import Run
from cdmllab.training import checkpoint, load

PLAIN = {
    "name": "digits",
    "data": {"name": "digits"},
    "backbone": {"name": "small", "embedding_dim": 8, "size": 8, "channels": 1, "width": 8},
    "loss": {"name": "cdml", "scale": 16.0, "easiness": "gap", "backend": "sharded"},
    "optimiser": {"lr": 0.05, "clip_norm": 10.0},
    "epochs": 12,
    "batch_size": 16,
    "watch": {"log_every": 4, "checkpoint_every": 20},
}


def torchrun(processes, *arguments, runs):
    environment = {**os.environ, "CDMLLAB_RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
    ]
    return subprocess.Popen(
        [*command, "-m", "cdmllab", "train", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def newest(folder):
    return max(
        (int(kept.name.removeprefix("step-")) for kept in folder.glob("*/checkpoints/step-*")),
        default=0,
    )


def killed_after_checkpoints(process, folder, count):
    """Kill it after this many checkpoints; returns the newest step."""
    seen = {newest(folder)}
    until(
        lambda: seen.add(newest(folder)) or len(seen) > count or process.poll() is not None,
        every_s=0.025,
    )
    launcher = psutil.Process(process.pid)
    for each in [
        launcher,
        *launcher.children(recursive=True),
    ]:  # the workers have sessions of their own
        each.kill()
    output, _ = process.communicate()
    assert len(seen) > count, output
    return newest(folder)


def test_killed_run_resumes_with_one_then_three_then_two_processes(tmp_path):
    """Every run writes checkpoints, the next resumes from the newest, and steps only rise."""
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(PLAIN))
    runs = tmp_path / "runs"
    reached = [killed_after_checkpoints(torchrun(2, tmp_path / "own.yaml", runs=runs), runs, 1)]
    (run,) = Run.list(runs)
    for processes in (1, 3):
        reached.append(
            killed_after_checkpoints(
                torchrun(processes, "--resume", run.folder, runs=runs), runs, 2
            )
        )
        assert run.status == "running"
        assert len(checkpoint.steps(run.folder)) <= 3  # two to keep, and one that the kill left
    assert reached == sorted(set(reached))
    before = run.metrics()

    output, _ = (last := torchrun(2, "--resume", run.folder, runs=runs)).communicate(
        timeout=LIMIT_S
    )
    assert last.returncode == 0, output
    assert f"continuing from step {reached[-1]}" in output
    done = load(run)
    m = run.metrics()
    assert run.status == "finished"
    assert m["accuracy"][-1] > 0.9
    assert m["loss"][-1] < m["loss"][0]
    assert (np.diff(m["step"]) > 0).all()
    assert (np.diff(m["epoch"]) >= 0).all()
    kept = before["step"] <= reached[-1]
    np.testing.assert_array_equal(m["loss"][: kept.sum()], before["loss"][kept])
    assert done.head.centres.shape == (7, 8)
    assert torch.isfinite(done.head.centres).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"loss": {"name": "arcface"}},
            "training in 2 processes needs loss.backend=sharded",
        ),
        ({"speed": {"precision": "float16"}}, "several processes train in float32 or bfloat16"),
    ],
)
def test_unsupported_requests_of_several_processes_are_reported(tmp_path, change, sentence):
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**PLAIN, **change}))
    process = torchrun(2, tmp_path / "own.yaml", runs=tmp_path / "runs")
    output, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode != 0
    assert sentence in output
