"""How training codes name the parameters of a network, and what else one must know to run it.

A checkpoint holds names and tensors alone. Whose code wrote it shows in the prefixes of the names:

- arcface_torch: the bare names of an IResNet, or those behind a wrapper's ``module.``
- MagFace: ``features.module.`` or ``module.features.`` before the names of an IResNet, whose
  normalisations have an eps of 2e-5; BGR, x / 255
  (https://github.com/IrvingMeng/MagFace/blob/main/inference/network_inf.py)
- AdaFace: ``model.`` before the names of an IR-net, beside a ``head.``
  (https://github.com/mk-minchul/AdaFace/blob/master/inference.py); BGR, (x / 255 - 0.5) / 0.5
- CVLface: ``net.`` or ``model.net.`` before the names of an IR-net or IResNet; RGB unless the
  ``model.yaml`` that it writes next to the weights says BGR, (x / 255 - 0.5) / 0.5
  (https://github.com/mk-minchul/CVLface)
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from cdmllab._util.files import read_yaml
from cdmllab.errors import CdmlLabError, plain
from cdmllab.preprocessing import ADAFACE, CVLFACE, INSIGHTFACE, MAGFACE, Preprocessing

State = dict[str, Tensor]
MAGFACE_EPS = 2e-5
MAGFACE_PREFIX = "features.module."
# Two names that together identify a kind of network, whatever stands before both.
_KINDS = {
    "IResNet": ("conv1.weight", "layer1.0.bn1.weight"),
    "IR-net": ("input_layer.0.weight", "body.0.res_layer.0.weight"),
    "small network": ("stem.0.weight", "blocks.0.body.0.weight"),
    "dlib's ResNet": ("stem.conv.weight", "blocks.128_1.conv1.conv.weight"),
}
_KNOWN = (
    "arcface_torch's and MagFace's IResNets (conv1, bn1, prelu, layer1, ...), AdaFace's and "
    "CVLface's IR-nets "
    "(input_layer, output_layer, body), our small network (stem, blocks, bn, fc), and our form of "
    "dlib's ResNet "
    "(stem, blocks, fc)"
)


class Origin(NamedTuple):
    """Whose code wrote a checkpoint, as far as its names show, and what follows for the network."""

    name: str
    options: dict[str, Any]  # of `cdmllab.backbones.create`, which no tensor shows
    preprocessing: Preprocessing | None  # None where the names leave it open


def network(state: Mapping[str, Tensor], path: Path | str) -> tuple[State, Origin]:
    """The one network in a state, under its own names, and where it comes from.

    Heads and the like are left out.

    Parameters
    ----------
    state : tensors by name, as the file has them
    path : the file, named in complaints; CVLface's ``model.yaml`` is looked for next to it

    Raises
    ------
    CdmlLabError : no network of a known layout, or more than one
    """
    found = [
        (key.removesuffix(first), kind)
        for kind, (first, second) in _KINDS.items()
        for key in state
        if key == first or key.endswith(f".{first}")
        if key.removesuffix(first) + second in state
    ]
    if not found:
        keys = ", ".join(list(state)[:4])
        raise CdmlLabError(
            f"{path} has a layout that is not known: its first keys are {keys}; known are {_KNOWN}"
        )
    if len(found) > 1:
        places = " and ".join(repr(prefix) for prefix, _ in found)
        raise CdmlLabError(
            f"{path} holds {len(found)} networks, whose keys begin with {places}: keep one of them"
        )
    ((prefix, kind),) = found
    inside = {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
    return inside, _origin(kind, prefix, state, Path(path))


def _origin(kind: str, prefix: str, state: Mapping[str, Tensor], path: Path) -> Origin:
    parts = prefix.split(".")
    if kind == "small network":
        return Origin("cdmllab", {}, INSIGHTFACE)
    if "net" in parts:
        return Origin("CVLface", {}, CVLFACE | {"channels": _colours(path)})
    if kind == "IResNet":
        magface = Origin("MagFace", {"norm_eps": MAGFACE_EPS}, MAGFACE)
        return magface if "features" in parts else Origin("arcface_torch", {}, INSIGHTFACE)
    if "model" in parts and any(key.startswith("head.") for key in state):
        return Origin("AdaFace", {}, ADAFACE)
    return Origin("an IR-net", {}, None)


def _colours(path: Path) -> str:
    """RGB or BGR, from the file that CVLface writes next to the weights; RGB if there is none."""
    for beside in (path.with_suffix(".yaml"), path.parent / "pretrained_model/model.yaml"):
        if beside.is_file():
            colours = read_yaml(beside).get("color_space")
            if colours not in ("RGB", "BGR"):
                raise CdmlLabError(
                    f"{beside}: color_space must be RGB or BGR, got {plain(repr(colours), 60)}"
                )
            return str(colours)
    return "RGB"
