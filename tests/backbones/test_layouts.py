"""Checkpoints in the layouts of other training codes, in miniature."""

import argparse
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.backbones import layout

from cdmllab import backbones
from cdmllab.backbones import checkpoints, weights
from cdmllab.errors import CdmlLabError
from cdmllab.preprocessing import ADAFACE, INSIGHTFACE, MAGFACE

LITTLE = {"width": 4, "embedding_dim": 8, "size": 32}
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
HEAD = torch.zeros(8, 5)


@pytest.fixture(scope="module")
def iresnet():
    return layout.checkpoint(width=4, dim=8, side=2)


@pytest.fixture(scope="module")
def irnet():
    return {
        key: value.float()
        for key, value in layout.by_formula(backbones.create("ir_18", **LITTLE))
        .state_dict()
        .items()
    }


def under(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


def magface_dist(state):
    """run/trainer_dist.py: the features in DistributedDataParallel, a sharded head, the
    optimiser.
    """
    return {
        "epoch": 25,
        "arch": "iresnet18",
        "state_dict": {**under("features.module.", state), "parallel_fc.weight": HEAD},
        "optimizer": {
            "state": {0: {"momentum_buffer": HEAD}},
            "param_groups": [{"lr": 0.1, "params": [0]}],
        },
    }


def magface(state):
    """run/trainer.py: all of it in DataParallel."""
    return {
        "epoch": 25,
        "state_dict": {**under("module.features.", state), "module.fc.weight": HEAD},
    }


def adaface(state):
    """main.py: PyTorch Lightning's checkpoint of a module with a model and a head."""
    head = {"head.kernel": HEAD, "head.t": torch.zeros(1), "head.batch_mean": torch.ones(1)}
    return {
        "state_dict": {**under("model.", state), **head},
        "hyper_parameters": {"arch": "ir_18"},
        "epoch": 3,
    }


WRITTEN = {
    "arcface_torch": lambda state: state,
    "arcface_torch, training": lambda state: {
        "epoch": 3,
        "state_dict_backbone": under("module.", state),
        "state_dict_softmax_fc": {"weight": HEAD},
    },
    "MagFace, dist": magface_dist,
    "MagFace": magface,
}


@pytest.mark.parametrize("which", WRITTEN)
def test_iresnets_are_read_with_the_eps_and_the_input_of_their_code(tmp_path, iresnet, which):
    torch.save(WRITTEN[which](iresnet), tmp_path / "a.pth")
    state, origin = checkpoints.recognise(tmp_path / "a.pth")
    assert list(state) == list(iresnet)
    of_magface = which.startswith("MagFace")
    assert origin.name == which.split(",")[0]
    assert origin.preprocessing == (MAGFACE if of_magface else INSIGHTFACE)

    net = weights.load("r18", tmp_path / "a.pth", **LITTLE)
    eps = 2e-5 if of_magface else 1e-5
    assert {m.eps for m in net.modules() if hasattr(m, "eps")} == {eps}
    with torch.no_grad():
        out = net(IMAGES)
    expected = layout.forward(iresnet, IMAGES, eps=eps)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
    assert (
        out.norm(dim=1) - 1.0
    ).abs().min() > 0.1  # the length, MagFace's measure of quality, is kept


def test_explicit_eps_is_used(tmp_path, iresnet):
    torch.save(magface(iresnet), tmp_path / "a.pth")
    assert weights.load("r18", tmp_path / "a.pth", **LITTLE, norm_eps=1e-5).bn1.eps == 1e-5


def test_gain_behind_the_prefix_of_dataparallel_is_not_magfaces(tmp_path, iresnet):
    """arcface_torch's own last layer is called features: module.features.weight is its gain."""
    torch.save(under("module.", iresnet), tmp_path / "a.pth")
    state, origin = checkpoints.recognise(tmp_path / "a.pth")
    assert origin.name == "arcface_torch"
    assert torch.equal(state["features.weight"], iresnet["features.weight"])


def irnet_files(folder: Path, state):
    torch.save(adaface(state), folder / "adaface.ckpt")
    torch.save(under("net.", state), folder / "cvlface.pt")
    save_file(under("model.net.", state), folder / "cvlface.safetensors")
    torch.save(state, folder / "bare.pth")


@pytest.mark.parametrize(
    ("file", "origin", "preprocessing"),
    [("adaface.ckpt", "AdaFace", ADAFACE), ("cvlface.pt", "CVLface", INSIGHTFACE),
     ("cvlface.safetensors", "CVLface", INSIGHTFACE), ("bare.pth", "an IR-net", None)],
)  # fmt: skip
def test_irnets_are_read_with_the_input_of_their_code(tmp_path, irnet, file, origin, preprocessing):
    irnet_files(tmp_path, irnet)
    result = checkpoints.recognise(tmp_path / file)
    assert (result.origin.name, result.origin.preprocessing) == (origin, preprocessing)
    assert result.state.keys() == irnet.keys()
    net = weights.load("ir_18", tmp_path / file, **LITTLE)
    assert all(torch.equal(value, irnet[key]) for key, value in net.state_dict().items())


def test_channels_of_cvlface_are_those_of_the_file_next_to_it(tmp_path, irnet):
    irnet_files(tmp_path, irnet)
    (tmp_path / "cvlface.yaml").write_text("name: ir50\ncolor_space: BGR\n")
    assert checkpoints.recognise(tmp_path / "cvlface.pt").origin.preprocessing["channels"] == "BGR"
    (tmp_path / "cvlface.yaml").write_text("color_space: HSV\n")
    with pytest.raises(
        CdmlLabError, match=r"cvlface\.yaml: color_space must be RGB or BGR, got 'HSV'"
    ):
        checkpoints.recognise(tmp_path / "cvlface.pt")
    (tmp_path / "cvlface.yaml").write_text("color_space: [")
    with pytest.raises(CdmlLabError, match=r"cvlface\.yaml is not readable YAML"):
        checkpoints.recognise(tmp_path / "cvlface.pt")


def test_unknown_layout_is_rejected_with_its_first_keys_and_the_known_ones(tmp_path):
    """arcface_torch's MobileFaceNet."""
    names = (
        "layers.0.layers.0.weight",
        "layers.0.layers.1.weight",
        "conv_sep.layers.0.weight",
        "features.layers.0.weight",
    )
    torch.save(
        {"state_dict": {f"module.{name}": torch.zeros(2) for name in names}}, tmp_path / "a.pth"
    )
    with pytest.raises(CdmlLabError) as caught:
        weights.load("r18", tmp_path / "a.pth")
    message = str(caught.value)
    assert (
        "a.pth has an unknown layout: its first keys are module.layers.0.layers.0.weight, "
        in message
    )
    for known in (
        "arcface_torch's and MagFace's IResNets (conv1,",
        "AdaFace's and CVLface's IR-nets (input_layer,",
    ):
        assert known in message
    assert "\n" not in message


def test_two_networks_in_one_file_are_rejected(tmp_path, iresnet):
    torch.save(under("student.", iresnet) | under("teacher.", iresnet), tmp_path / "a.pth")
    with pytest.raises(
        CdmlLabError,
        match=r"a\.pth contains 2 networks, whose keys begin with 'student\.' and 'teacher\.'",
    ):
        checkpoints.read(tmp_path / "a.pth")


def test_objects_of_trainers_are_ignored_and_not_imported(tmp_path, irnet, monkeypatch):
    """Old PyTorch Lightning keeps the callbacks' classes as keys; others their settings and
    scores.
    """
    module = types.ModuleType("pytorch_lightning.callbacks")
    module.Watch = type("Watch", (), {"__module__": module.__name__})
    with monkeypatch.context() as present:
        present.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
        present.setitem(sys.modules, module.__name__, module)
        watch = module.Watch()
        watch.best = Path("a")
        kept = {"callbacks": {module.Watch: {"best": 1.0}}, "again": watch, "best": np.float64(0.5),
                "args": argparse.Namespace(lr=0.1, out=Path("b"))}  # fmt: skip
        torch.save(adaface(irnet) | kept, tmp_path / "a.ckpt")
    assert checkpoints.recognise(tmp_path / "a.ckpt").origin.name == "AdaFace"
    assert "pytorch_lightning" not in sys.modules


def test_magface_network_is_written_so_that_its_eps_is_known(tmp_path, iresnet):
    torch.save(magface(iresnet), tmp_path / "a.pth")
    checkpoints.save(weights.load("r18", tmp_path / "a.pth", **LITTLE), tmp_path / "b.pth")
    plain = torch.load(tmp_path / "b.pth", weights_only=True)
    assert next(iter(plain["state_dict"])) == "features.module.conv1.weight"
    again = weights.load("r18", tmp_path / "b.pth", **LITTLE)
    assert again.bn1.eps == 2e-5
    assert all(torch.equal(value, iresnet[key]) for key, value in again.state_dict().items())
