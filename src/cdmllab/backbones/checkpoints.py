"""Checkpoints in arcface_torch's layout: reading what is about, writing what others read, telling networks apart."""

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cdmllab import backbones
from cdmllab.backbones import soundness
from cdmllab.backbones.base import Backbone
from cdmllab.errors import CdmlLabError, reader
from cdmllab.files import replacing

State = dict[str, Tensor]
_WRAPPERS = ("module.", "_orig_mod.", "backbone.", "model.")  # of DataParallel, torch.compile, training scripts
_INSIDE = ("state_dict_backbone", "backbone", "state_dict", "model")  # where a training checkpoint keeps a network


def save(net: Backbone, path: Path | str) -> None:
    """Write the bare state dict, as arcface_torch keeps its released models."""
    with replacing(path) as temporary:
        content = io.BytesIO()  # torch would tell a full disk as an error of its own making
        torch.save({key: value.contiguous() for key, value in net.state_dict().items()}, content)
        temporary.write_bytes(content.getbuffer())


@reader("a readable checkpoint")
def read(path: Path | str) -> State:
    """The tensors of a file under the names a backbone gives them, floating ones in float32.

    Raises
    ------
    CdmlLabError : the file cannot be read, or holds anything but tensors and plain values
    """
    if not Path(path).is_file():
        raise CdmlLabError(f"there is no file {path}")
    if Path(path).suffix == ".safetensors":
        with opened(path) as file:
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
    else:
        soundness.check_archive(path)
        try:
            with warnings.catch_warnings(action="ignore"):
                loaded = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch has a dozen kinds, and its words tell the user to switch the guard off
            raise CdmlLabError(
                f"{path} is not a checkpoint, or holds more than tensors, which could run code when read"
            ) from error
        found = _inside(loaded, path)
    soundness.check_tensors(found, path)
    return {_bare(key): value.float() if value.is_floating_point() else value for key, value in found.items()}


def mismatch(net: Backbone, state: Mapping[str, Tensor]) -> str | None:
    """Which keys of a state are missing, of the wrong shape or not of this network; None if it fits."""
    own = net.state_dict()
    optional = {key for key in own if key.endswith("num_batches_tracked")}  # old checkpoints have none
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
    for name in backbones.names():
        with torch.device("meta"):
            twin = backbones.create(name)
        if mismatch(twin, state) is None:
            return name
    return None


def opened(path: Path | str) -> Any:
    """A safetensors file, for reading."""
    try:
        return safe_open(str(path), framework="pt")
    except (OSError, SafetensorError) as error:
        raise CdmlLabError(f"{path} is not readable as safetensors: {error}") from error


def _inside(loaded: object, path: Path | str) -> State:
    """The state dict itself, or the one within a training checkpoint."""
    for key in _INSIDE:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()) or not loaded:
        raise CdmlLabError(f"{path} is not a state dict: names of parameters with a tensor each")
    return cast(State, loaded)


def _bare(key: str) -> str:
    while True:
        for prefix in _WRAPPERS:
            if key.startswith(prefix):
                key = key.removeprefix(prefix)
                break
        else:
            return key


def _some(items: list[str], most: int = 4) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
