"""Killed and resumed: the same numbers, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import zlib

import pytest
import torch
import yaml
from filelock import FileLock
from tests.training.power_cut import power_cut
from tests.waiting import until

from cdmllab import backbones
from cdmllab.backbones import weights
from cdmllab.errors import CdmlLabError, DataError
from cdmllab.runs import Run
from cdmllab.training import Config, checkpoint, holding, load, resume, train

PLAIN = {
    "name": "digits",
    "data": {"name": "digits", "augmentation": "small"},
    "backbone": {"name": "small", "embedding_dim": 8, "size": 8, "channels": 1, "width": 8},
    "loss": {
        "name": "cdml",
        "scale": 16.0,
        "shape": "linear",
        "class_weight": 0.5,
        "schedule": "linear",
    },
    "optimiser": {"lr": 0.05, "schedule": "cosine", "warmup_epochs": 1.0, "clip_norm": 5.0},
    "epochs": 6,
    "batch_size": 64,
    "accumulate": 2,
    "watch": {"log_every": 1, "checkpoint_every": 7},
}


def config(**changes):
    return Config.parse({**PLAIN, **changes})


def interrupted(monkeypatch, within, at, earlier=None, **changes):
    """A run that is interrupted after step `at`; its record still says running, as after a kill."""
    with power_cut(monkeypatch, at):
        train(config(**changes), within=within) if earlier is None else resume(earlier.folder)
    monkeypatch.undo()
    (run,) = Run.list(within)
    return run


def test_run_keeps_the_precision_it_was_started_in(tmp_path, monkeypatch):
    """It may be resumed where another precision would be the fastest."""
    fast = {"speed": {"precision": "auto"}}
    monkeypatch.setattr(backbones, "fast_precision", lambda _: "bfloat16")
    run = interrupted(monkeypatch, tmp_path, 9, **fast)
    monkeypatch.setattr(backbones, "fast_precision", lambda _: "float32")
    done = resume(run.folder)
    assert done.run.record["precision"] == "bfloat16"
    assert done.run.config["speed"]["precision"] == "auto"
    uninterrupted = train(config(speed={"precision": "bfloat16"}), within=tmp_path / "whole")
    same(done, uninterrupted)
    assert train(config(**fast), within=tmp_path).run.folder == run.folder
    assert train(config(**fast), within=tmp_path, redo=True).run.record["precision"] == "float32"


def same(a, b):
    for x, y in zip(
        a.backbone.state_dict().values(), b.backbone.state_dict().values(), strict=True
    ):
        assert torch.equal(x, y)
    for x, y in zip(a.head.state_dict().values(), b.head.state_dict().values(), strict=True):
        assert torch.equal(x, y)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return train(config(), within=tmp_path_factory.mktemp("straight"))


@pytest.mark.parametrize("at", [3, 7, 20])
def test_interrupted_run_ends_with_the_same_numbers(monkeypatch, tmp_path, straight, at):
    run = interrupted(monkeypatch, tmp_path, at)
    assert run.status == "running"
    done = resume(run.folder)
    same(done, straight)
    one, two = (r.run.metrics() for r in (straight, done))
    for key in ("step", "loss", "lr", "margin_rad", "accuracy", "easiness_p90", "gradient_norm"):
        torch.testing.assert_close(torch.tensor(one[key]), torch.tensor(two[key]), rtol=0, atol=0)


def test_a_killed_process_loses_only_the_steps_since_its_checkpoint(tmp_path, straight):
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(PLAIN))
    environment = {**os.environ, "CDMLLAB_RUNS": str(tmp_path / "runs"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "cdmllab", "train", str(tmp_path / "own.yaml")],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    until(lambda: list((tmp_path / "runs").glob("*/checkpoints/step-*")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (run,) = Run.list(tmp_path / "runs")
    assert run.status == "running"
    newest = checkpoint.steps(run.folder)[-1]
    messages = []
    done = resume(run.folder, report=messages.append)
    assert continuing_from(run, newest) in messages
    same(done, straight)


def checkpoint_name(folder):
    return folder.name.removeprefix("step-")


def continuing_from(run, kept):
    return f"{run.folder.name}: continuing from step {int(checkpoint_name(kept))}"


def test_damaged_checkpoint_is_skipped_with_a_message(monkeypatch, tmp_path, straight):
    run = interrupted(monkeypatch, tmp_path, 20)
    first, second = checkpoint.steps(run.folder)
    payload = max(second.iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(payload.read_bytes())
    content[len(content) // 2] ^= 1
    payload.write_bytes(content)
    messages = []
    done = resume(run.folder, report=messages.append)
    assert (
        f"{second} is damaged ({payload.name} has changed): falling back to the one before it"
        in messages
    )
    assert continuing_from(run, first) in messages
    same(done, straight)


def test_steps_of_another_size_leave_checkpoints_and_metrics_that_only_rise(monkeypatch, tmp_path):
    """A larger batch acts like more ranks: half as many steps remain, so the step decreases."""
    run = interrupted(monkeypatch, tmp_path, 20)
    before = run.metrics()["loss"][:14]
    larger = config(batch_size=128).flat()
    (run.folder / "config.yaml").write_text(yaml.safe_dump(larger))
    run.note(config=larger)
    interrupted(monkeypatch, tmp_path, 23, run)
    assert [checkpoint_name(kept) for kept in checkpoint.steps(run.folder)] == [
        "00000014",
        "00000021",
    ]
    messages = []
    done = resume(run.folder, report=messages.append)
    assert f"{run.folder.name}: continuing from step 21" in messages
    m = done.run.metrics()
    assert list(m["step"]) == list(range(1, len(m["step"]) + 1))
    assert list(m["loss"][:14]) == list(before)
    assert list(m["epoch"]) == sorted(m["epoch"])
    assert m["epoch"][-1] == 5


def test_run_without_an_intact_checkpoint_is_refused(monkeypatch, tmp_path):
    run = interrupted(monkeypatch, tmp_path, 20)
    for folder in checkpoint.steps(run.folder):
        (folder / checkpoint.CHECKSUMS).unlink()
    with pytest.raises(CdmlLabError, match=r"every checkpoint in .* is damaged"):
        resume(run.folder)


def test_half_written_checkpoint_is_ignored(monkeypatch, tmp_path, straight):
    run = interrupted(monkeypatch, tmp_path, 20)
    before, newest = checkpoint.steps(run.folder)
    newest.rename(newest.with_name(f".{newest.name}.tmp"))
    messages = []
    same(resume(run.folder, report=messages.append), straight)
    assert continuing_from(run, before) in messages


def test_a_finished_run_keeps_its_network_and_no_checkpoints(straight):
    assert checkpoint.steps(straight.run.folder) == []
    same(load(straight.run), straight)
    same(resume(straight.run.folder), straight)


def test_a_second_process_is_refused(monkeypatch, tmp_path):
    run = interrupted(monkeypatch, tmp_path, 7)
    with (
        FileLock(run.folder / holding.LOCK),
        pytest.raises(CdmlLabError, match="another process is training in"),
    ):
        resume(run.folder)


def test_diverging_run_leaves_a_diagnosis(tmp_path):
    wild = {"optimiser": {"lr": 1e30}, "accumulate": 1}
    with pytest.raises(
        FloatingPointError,
        match=r"at step \d+ \(epoch 0\), in a batch of 64 .* a learning rate of 1e\+30",
    ):
        train(config(**wild), within=tmp_path)
    (run,) = Run.list(tmp_path)
    assert run.status == "failed"
    diagnosis = json.loads((run.folder / "diagnosis.json").read_text())
    assert diagnosis["lr"] == 1e30
    assert len(diagnosis["rows"]) == 64
    assert diagnosis["parameters_not_finite"] or diagnosis["embeddings_not_finite"]


def test_fine_tuning_starts_from_the_weights_of_a_run(tmp_path, straight):
    short = config(
        start_from=str(straight.run.folder),
        epochs=1,
        accumulate=1,
        optimiser={"lr": 1e-12, "weight_decay": 0.0},
    )
    tuned = train(short, within=tmp_path)
    for (name, x), (_, y) in zip(
        tuned.backbone.named_parameters(), straight.backbone.named_parameters(), strict=True
    ):
        torch.testing.assert_close(x, y, msg=name)


def test_fine_tuning_refuses_weights_that_expect_another_input(tmp_path):
    """As of a converted checkpoint of MagFace, fed x / 255: training feeds (x / 255 - 0.5)
    / 0.5.
    """
    net = config().backbone.build()
    fed = {"channels": "grey", "mean": [0.0], "std": [1.0], "size": 8}
    options = {key: value for key, value in PLAIN["backbone"].items() if key != "name"}
    weights.save_release(
        net, tmp_path / "a.safetensors", name="small", options=options, preprocessing=fed
    )
    with pytest.raises(
        CdmlLabError,
        match=r"start_from .*a\.safetensors: this training's input has another .*mean \[0\.5\]",
    ):
        train(config(start_from=str(tmp_path / "a.safetensors")), within=tmp_path)


def test_checkpoint_without_its_seconds_is_refused(monkeypatch, tmp_path):
    """Any plain value of a checkpoint may be null; a time that is cannot be continued."""
    run = interrupted(monkeypatch, tmp_path, 9)
    for folder in checkpoint.steps(run.folder):
        index = json.loads((folder / "state.json").read_text())
        index["plain"]["seconds"] = None
        text = json.dumps(index).encode()
        (folder / "state.json").write_bytes(text)
        sums = json.loads((folder / "files.json").read_text())
        sums["files"]["state.json"] = {"bytes": len(text), "crc32": zlib.crc32(text)}
        (folder / "files.json").write_text(json.dumps(sums))
    with pytest.raises(DataError, match="is not a run with a usable checkpoint"):
        resume(run.folder)
