"""`cdmllab evaluate` on a run."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cdmllab import backbones
from cdmllab.cli import app
from cdmllab.data import bins
from cdmllab.evaluate import cached, embedding
from cdmllab.preprocessing import standard
from cdmllab.runs import Run
from cdmllab.training import Config, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = Config.parse(
        {
            "name": "digits",
            "data": {"name": "digits"},
            "backbone": {"name": "small", "size": 8, "channels": 1, "width": 4, "embedding_dim": 8},
            "loss": {"name": "arcface", "scale": 16.0},
            "epochs": 2,
        }
    )
    return train(config, within=tmp_path_factory.mktemp("runs")).run


def command(*args):
    return CliRunner().invoke(app, ["evaluate", *map(str, args)])


def written(run, name):
    return json.loads((run.folder / "eval" / f"{name}.json").read_text())


def test_without_a_run_the_protocols_are_listed():
    assert "digits/strangers" in command().output


def test_protocols_are_evaluated_and_reported(run):
    result = command(
        run.folder, "--protocol", "digits/known", "digits/strangers", "--replicates", 20, "--redo"
    )
    assert result.exit_code == 0, result.output
    known, strangers = written(run, "digits-known"), written(run, "digits-strangers")
    assert known["accuracy"]["value"] > strangers["accuracy"]["value"] > 0.5
    assert f"accuracy   {100 * known['accuracy']['value']:.2f} % [" in result.output
    assert "by arcface_torch's rule (" in result.output
    assert "not at 1e-06, 1e-05, 0.0001: too few impostor pairs" in result.output
    assert "over pairs: there are only 3 identities" in result.output
    with np.load(run.folder / "eval/digits-known.npz") as arrays:
        assert sorted(arrays) == ["fold", "is_same", "scores"]
        assert len(arrays["scores"]) == 6000
    assert not known["flip"]  # a mirrored digit is another sign


def test_existing_evaluation_is_reused(run, monkeypatch):
    args = (run.folder, "--protocol", "digits/known", "--replicates", 10)
    assert "done before" not in command(*args, "--redo").output
    monkeypatch.setattr(cached, "embed", None)
    assert "done before" in command(*args).output
    monkeypatch.setattr(cached, "embed", embedding.embed)
    assert "done before" not in command(*args[:3], "--replicates", 11).output
    assert "done before" not in command(*args[:3], "--replicates", 11, "--redo").output
    flipped = command(*args[:3], "--replicates", 11, "--flip")
    assert "digits-known__flip" in flipped.output
    assert written(run, "digits-known__flip")["flip"]


def test_change_of_preprocessing_or_data_is_evaluated_again(data, tmp_path):
    def make(seed):
        images = list(np.random.default_rng(seed).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8))
        bins.write(data / "lfw.bin", images, [True, False] * 10)

    make(0)
    torch.manual_seed(0)
    net = backbones.create("small", size=8, width=4, embedding_dim=8).eval()
    rgb = standard(3, 8)
    settings = cached.Settings(replicates=0)
    judged = partial(cached.evaluate, net, "lfw", tmp_path, settings)
    first, _, _ = judged(prepare=rgb)
    assert judged(prepare=rgb)[2]
    second, _, done_before = judged(prepare=rgb | {"channels": "BGR"})
    assert not done_before
    assert (second.scores != first.scores).any()
    make(1)
    third, _, done_before = judged(prepare=rgb | {"channels": "BGR"})
    assert not done_before
    assert (third.scores != second.scores).any()


def test_interrupted_evaluation_leaves_no_result(run, monkeypatch):
    for path in (run.folder / "eval").glob("digits-known*"):
        path.unlink()

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("cdmllab.evaluate.evaluation.write_text", stop)
        assert command(run.folder, "--protocol", "digits/known", "--replicates", 0).exit_code == 130
    assert not (run.folder / "eval/digits-known.json").exists()
    again = command(run.folder, "--protocol", "digits/known", "--replicates", 0)
    assert again.exit_code == 0
    assert "done before" not in again.output


def test_threshold_of_one_protocol_is_applied_to_the_others(run):
    args = (run.folder, "--protocol", "digits/*", "--replicates", 0, "--far", 0.01)
    result = command(*args, "--threshold-from", "digits/known")
    assert result.exit_code == 0, result.output
    decision = written(run, "digits-strangers")["decision"]
    assert decision["threshold_from"] == "digits/known"
    assert (
        f"threshold  {decision['threshold_cos']:.4f}, for FAR 0.01 on digits/known: FAR here"
        in result.output
    )
    assert "decision" not in written(run, "digits-known")


def test_figures_are_written_next_to_the_result(run):
    result = command(run.folder, "--protocol", "digits/known", "--replicates", 0, "--figures")
    assert "drawn      2 figures" in result.output
    assert (run.folder / "eval/digits-known__worst.svg").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "name a protocol with --protocol; `cdmllab evaluate` without a run lists them"),
        (("--protocol", "lfv"), "no protocol 'lfv'"),
        (("--protocol", "gone.npz"), "gone.npz does not exist"),
        (
            ("--protocol", "digits/known", "--device", "tpu"),
            "device must be cpu or cuda, got 'tpu'",
        ),
        (
            ("--protocol", "digits/known", "--threshold-from", "digits/known"),
            "cannot be evaluated on it",
        ),
        (
            (
                "--protocol",
                "digits/known",
                "--threshold-from",
                "digits/strangers",
                "--far",
                "1e-5",
                "--replicates",
                "0",
            ),
            "a FAR of 1e-05 cannot be measured with 3,000 impostor pairs",
        ),
    ],
)
def test_mistake_is_reported_in_one_sentence(run, args, message):
    result = command(run.folder, *args)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_images_that_do_not_fit_the_network_are_reported(run, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 9, 9, 1), dtype=np.uint8)
    np.savez(tmp_path / "nine.npz", images=pixels, first=[0, 1], second=[2, 3], same=[True, False])
    result = command(run.folder, "--protocol", tmp_path / "nine.npz")
    assert result.exit_code == 1
    assert (
        "images must be uint8 of shape (b, 1 or 3, 8, 8), got torch.uint8 (4, 1, 9, 9)"
        in result.stderr
    )


def test_only_a_finished_run_is_evaluated(tmp_path):
    started = Run.create("half", 0, {}, within=tmp_path)
    assert (
        "is running: only a finished run has a released network"
        in command(started.folder, "--protocol", "digits/*").stderr
    )
    assert "is not a run" in command(tmp_path, "--protocol", "digits/*").stderr
