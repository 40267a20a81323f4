"""Checkpoints of the field's training codes: read, written, and matched with a network."""

import io
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from cdmllab import backbones
from cdmllab._util.files import replacing
from cdmllab.backbones import contents, layouts
from cdmllab.backbones.base import Backbone
from cdmllab.errors import CdmlLabError, reader

State = layouts.State
# Where a training checkpoint keeps its network.
_INSIDE = ("state_dict_backbone", "backbone", "state_dict", "model", "model_state_dict", "net")
# Trainers keep these next to the weights: settings, callbacks, scores. None of them is imported.
_PASSED_OVER = (
    "pytorch_lightning.",
    "lightning.",
    "lightning_fabric.",
    "argparse.",
    "pathlib.",
    "numpy.",
)


class Checkpoint(NamedTuple):
    """A network's tensors by its own names, floating ones in float32, and whose code wrote them."""

    state: State
    origin: layouts.Origin


def save(net: Backbone, path: Path | str) -> None:
    """Write the bare state dict, as arcface_torch keeps its released models.

    A network with MagFace's eps is written as MagFace's code keeps its own: a bare state dict would
    be read with another eps.
    """
    state: dict[str, Any] = {key: value.contiguous() for key, value in net.state_dict().items()}
    if getattr(net, "norm_eps", None) == layouts.MAGFACE_EPS:
        state = {
            "state_dict": {layouts.MAGFACE_PREFIX + key: value for key, value in state.items()}
        }
    with replacing(path) as temporary:
        content = io.BytesIO()  # torch would tell a full disk as an error of its own making
        torch.save(state, content)
        temporary.write_bytes(content.getbuffer())


@reader("a readable checkpoint")
def read(path: Path | str) -> State:
    """The tensors of the network in a file, see `recognise`."""
    return recognise(path).state


def recognise(path: Path | str) -> Checkpoint:
    """The network in a file of arcface_torch, MagFace, AdaFace, CVLface or this package.

    Heads and the like are left out. No code in the file is run.

    Raises
    ------
    CdmlLabError : the file cannot be read, may hold code, holds no network of a known layout, or
        more than one
    """
    if not Path(path).is_file():
        raise CdmlLabError(f"there is no file {path}")
    if Path(path).suffix == ".safetensors":
        with opened(path) as file:
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
    else:
        contents.check_archive(path)
        found = _inside(_loaded(path), path)
    contents.check_tensors(found, path)
    state, origin = layouts.network(found, path)
    return Checkpoint(
        {
            key: value.float() if value.is_floating_point() else value
            for key, value in state.items()
        },
        origin,
    )


def mismatch(net: Backbone, state: Mapping[str, Tensor]) -> str | None:
    """Which keys of a state are missing, of the wrong shape or not of this network; None if it
    fits.
    """
    own = net.state_dict()
    optional = {
        key for key in own if key.endswith("num_batches_tracked")
    }  # old checkpoints have none
    parts = []
    missing = [key for key in own if key not in state and key not in optional]
    if missing:
        parts.append(f"missing {_some(missing)}")
    wrong = [key for key in own if key in state and state[key].shape != own[key].shape]
    if wrong:
        shapes = [f"{key} is {_shape(state[key])} instead of {_shape(own[key])}" for key in wrong]
        parts.append(f"of the wrong shape {_some(shapes)}")
    foreign = [key for key in state if key not in own]
    if foreign:
        parts.append(f"not of this network {_some(foreign)}")
    return "; ".join(parts) or None


def guess(state: Mapping[str, Tensor]) -> str | None:
    """The backbone, with its default options, that a state fits; None if there is none."""
    return next((name for name in backbones.names() if mismatch(_twin(name), state) is None), None)


def opened(path: Path | str) -> Any:
    """A safetensors file, for reading."""
    try:
        return safe_open(str(path), framework="pt")
    except (OSError, SafetensorError) as error:
        raise CdmlLabError(f"{path} is not readable as safetensors: {error}") from error


@cache
def _twin(name: str) -> Backbone:
    """A backbone without numbers, for its names and shapes."""
    with torch.device("meta"):
        return backbones.create(name)


class _Inert(dict[Any, Any]):
    """Stands for what is passed over: takes what a pickle gives it, and does nothing with it."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, _: object) -> None: ...


def _loaded(path: Path | str) -> object:
    try:
        names = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # torch has a dozen kinds; whether the file can be read turns out below
        names = []
    inert: list[Any] = [(_Inert, name) for name in names if name.startswith(_PASSED_OVER)]
    try:
        with warnings.catch_warnings(action="ignore"), safe_globals(inert):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # its words tell the user to switch the guard off
        raise CdmlLabError(
            f"{path} is not a checkpoint, or holds more than tensors, which could run code when "
            f"read"
        ) from error


def _inside(loaded: object, path: Path | str) -> State:
    """The state dict itself, or the one within a training checkpoint."""
    for key in _INSIDE:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if (
        not isinstance(loaded, dict)
        or not loaded
        or not all(
            isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items()
        )
    ):
        raise CdmlLabError(f"{path} is not a state dict: names of parameters with a tensor each")
    return cast(State, loaded)


def _some(items: list[str], most: int = 4) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
