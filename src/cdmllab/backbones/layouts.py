"""Checkpoint layouts of common training codes, and the preprocessing that their networks expect.

A checkpoint contains only names and tensors. The prefixes of the names show which code wrote it:

- arcface_torch: the bare names of an IResNet, or those behind a wrapper's ``module.``
- MagFace: ``features.module.`` or ``module.features.`` before the names of an IResNet, whose
  normalisations have an eps of 2e-5; BGR, x / 255
  (https://github.com/IrvingMeng/MagFace/blob/main/inference/network_inf.py)
- AdaFace: ``model.`` before the names of an IR-net, next to keys that begin with ``head.``
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
# Two names that together identify a kind of network, whatever the prefix before both.
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
    """The code that wrote a checkpoint, judged by its names, and what this implies."""

    name: str
    options: dict[str, Any]  # of `cdmllab.backbones.create`, if the tensors do not determine them
    preprocessing: Preprocessing | None  # None if the names do not determine it


def network(state: Mapping[str, Tensor], path: Path | str) -> tuple[State, Origin]:
    """Extract the network in a state, under its own names, and its origin.

    Everything else, such as a head, is ignored.

    Parameters
    ----------
    state : the tensors of the file by name
    path : the file, for error messages; CVLface's ``model.yaml`` is searched next to it

    Raises
    ------
    CdmlLabError : no network of a known layout, or more than one
    """
    # Every prefix under which both names of a kind occur.
    networks = [
        (key.removesuffix(first), kind)
        for kind, (first, second) in _KINDS.items()
        for key in state
        if key == first or key.endswith(f".{first}")  # at a dot, not within a name
        if key.removesuffix(first) + second in state
    ]
    if not networks:
        keys = ", ".join(list(state)[:4])
        raise CdmlLabError(
            f"{path} has an unknown layout: its first keys are {keys}; known layouts are {_KNOWN}"
        )
    if len(networks) > 1:
        prefixes = " and ".join(repr(prefix) for prefix, _ in networks)
        raise CdmlLabError(
            f"{path} contains {len(networks)} networks, whose keys begin with {prefixes}: keep one "
            f"of them"
        )
    ((prefix, kind),) = networks
    inside = {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
    return inside, _origin(kind, prefix, state, Path(path))


def _origin(kind: str, prefix: str, state: Mapping[str, Tensor], path: Path) -> Origin:
    parts = prefix.split(".")  # "model.net." to ["model", "net", ""]
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
    """RGB or BGR, from the file that CVLface writes next to the weights; RGB without one."""
    for config in (path.with_suffix(".yaml"), path.parent / "pretrained_model/model.yaml"):
        if config.is_file():
            colours = read_yaml(config).get("color_space")
            if colours not in ("RGB", "BGR"):
                raise CdmlLabError(
                    f"{config}: color_space must be RGB or BGR, got {plain(repr(colours), 60)}"
                )
            return str(colours)
    return "RGB"
