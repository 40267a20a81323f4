"""Unusable weights are rejected by name, whatever their source."""

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from cdmllab import backbones
from cdmllab.backbones import checkpoints, soundness, weights
from cdmllab.cli import app
from cdmllab.errors import CdmlLabError

SMALL = {"embedding_dim": 4, "size": 8, "channels": 1, "width": 8}


def network(name=None, value=torch.nan):
    """A small network with one changed value in the tensor `name`."""
    net = backbones.create("small", **SMALL).eval()
    if name is not None:
        net.state_dict()[name].view(-1)[1] = value
    return net


def last(net, ending):
    return [name for name in net.state_dict() if name.endswith(ending)][-1]


WEIGHT, VARIANCE = last(network(), ".weight"), last(network(), "running_var")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("tensor", [WEIGHT, VARIANCE])
def test_nan_value_is_named(tensor, value):
    with pytest.raises(
        CdmlLabError, match=rf"a file: 1 of the [\d,]+ values of {tensor} are NaN or infinite"
    ):
        soundness.check(network(tensor, value).state_dict(), "a file")


def test_negative_variance_gives_nan_and_is_named():
    broken = network(VARIANCE, -1.0)
    assert torch.isnan(broken(torch.zeros(1, 1, 8, 8))).any()
    with pytest.raises(CdmlLabError, match=f"{VARIANCE} contains negative variances"):
        soundness.check(broken.state_dict(), "a file")


def test_sound_weights_pass():
    soundness.check(network().state_dict(), "a file")
    soundness.check({"num_batches_tracked": torch.tensor(-1)}, "a file")


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_convert_writes_nothing_for_an_unsound_checkpoint(tmp_path, ending):
    checkpoints.save(network(WEIGHT), tmp_path / "broken.pth")
    with pytest.raises(CdmlLabError, match="are NaN or infinite"):
        weights.load("small", tmp_path / "broken.pth", **SMALL)
    wide = backbones.create("r18_lite")
    wide.state_dict()["conv1.weight"][0, 0, 0, 0] = torch.nan
    checkpoints.save(wide, tmp_path / "broken.pth")
    done = CliRunner().invoke(
        app, ["weights", "convert", str(tmp_path / "broken.pth"), str(tmp_path / f"new{ending}")]
    )
    assert done.exit_code == 1
    assert "broken.pth: 1 of the" in done.stderr
    assert "conv1.weight are NaN or infinite" in done.stderr
    assert not (tmp_path / f"new{ending}").exists()


def test_release_with_unsound_weights_is_neither_written_nor_read(tmp_path):
    with pytest.raises(CdmlLabError, match="are NaN or infinite"):
        weights.save_release(
            network(WEIGHT), tmp_path / "new.safetensors", name="small", options=SMALL
        )
    assert not (tmp_path / "new.safetensors").exists()
    weights.save_release(network(), tmp_path / "good.safetensors", name="small", options=SMALL)
    with checkpoints.opened(tmp_path / "good.safetensors") as file:
        metadata = file.metadata()
    save_file(network(WEIGHT).state_dict(), tmp_path / "bad.safetensors", metadata)
    with pytest.raises(CdmlLabError, match=r"bad\.safetensors: 1 of the"):
        weights.load_release(tmp_path / "bad.safetensors")
