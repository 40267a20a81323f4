"""Checkpoints of common training codes: reading, writing, and matching them with a network."""

import io
import os
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
from cdmllab._util.picklemachine import Refused
from cdmllab.backbones import contents, layouts, screening
from cdmllab.backbones.base import Backbone
from cdmllab.errors import CdmlLabError, DataError, plain, reader

State = layouts.State
# Keys under which training checkpoints store the network.
_INSIDE = ("state_dict_backbone", "backbone", "state_dict", "model", "model_state_dict", "net")
# Packages whose objects (settings, callbacks, scores) trainers store next to the weights. They are
# replaced by `_Inert`, and none of these packages is imported.
_IGNORED = (
    "pytorch_lightning.",
    "lightning.",
    "lightning_fabric.",
    "argparse.",
    "pathlib.",
    "numpy.",
)


class Checkpoint(NamedTuple):
    """A network's tensors under its own names, in float32, and the code that wrote them."""

    state: State
    origin: layouts.Origin


def save(net: Backbone, path: Path | str) -> None:
    """Write the bare state dict, which is the format of arcface_torch's released models.

    A network with MagFace's eps is written in the format of MagFace's code instead: a bare state
    dict would be read with another eps.
    """
    state: dict[str, Any] = {key: value.contiguous() for key, value in net.state_dict().items()}
    if getattr(net, "norm_eps", None) == layouts.MAGFACE_EPS:
        state = {
            "state_dict": {layouts.MAGFACE_PREFIX + key: value for key, value in state.items()}
        }
    with replacing(path) as temporary:
        content = io.BytesIO()  # torch would hide a full disk behind an error of its own
        torch.save(state, content)
        temporary.write_bytes(content.getbuffer())


@reader("a readable checkpoint")
def read(path: Path | str) -> State:
    """Read the tensors of the network in a file, see `recognise`."""
    return recognise(path).state


def recognise(path: Path | str) -> Checkpoint:
    """Read the network in a file of arcface_torch, MagFace, AdaFace, CVLface or this package.

    Everything else in the file, such as a head, is ignored. No code in the file is run.

    Raises
    ------
    CdmlLabError : the file cannot be read, may contain code, or contains no network of a known
        layout or more than one
    """
    if not Path(path).is_file():
        raise CdmlLabError(f"there is no file {path}")
    if Path(path).suffix == ".safetensors":
        with opened(path) as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
    else:
        contents.check_archive(path)
        tensors = _inside(_loaded(path), path)
    contents.check_tensors(tensors, path)
    state, origin = layouts.network(tensors, path)
    return Checkpoint(
        {
            key: value.float() if value.is_floating_point() else value
            for key, value in state.items()
        },
        origin,
    )


def mismatch(net: Backbone, state: Mapping[str, Tensor]) -> str | None:
    """Describe how a state differs from a network's in keys and shapes; None if it fits."""
    expected = net.state_dict()
    # Checkpoints of old versions of PyTorch do not have these.
    optional = {key for key in expected if key.endswith("num_batches_tracked")}
    parts = []
    missing = [key for key in expected if key not in state and key not in optional]
    if missing:
        parts.append(f"missing {_some(missing)}")
    wrong = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    if wrong:
        shapes = [
            f"{key} is {_shape(state[key])} instead of {_shape(expected[key])}" for key in wrong
        ]
        parts.append(f"wrong shape: {_some(shapes)}")
    unexpected = [key for key in state if key not in expected]
    if unexpected:
        parts.append(f"unexpected {_some(unexpected)}")
    return "; ".join(parts) or None


def guess(state: Mapping[str, Tensor]) -> str | None:
    """The name of the backbone, with default options, that a state fits; None without one."""
    return next((name for name in backbones.names() if mismatch(_twin(name), state) is None), None)


def opened(path: Path | str) -> Any:
    """Open a safetensors file for reading."""
    try:
        return safe_open(str(path), framework="pt")
    except (OSError, SafetensorError) as error:
        raise CdmlLabError(f"{path} is not readable as safetensors: {error}") from error


@cache
def _twin(name: str) -> Backbone:
    """A backbone on the meta device, for its names and shapes only."""
    with torch.device("meta"):
        return backbones.create(name)


class _Inert(dict[Any, Any]):
    """A replacement for ignored objects: accepts any state from a pickle and does nothing."""

    # A dict has no hash, but in a pickle such an object may be in a set or be a key.
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __setstate__(self, _: object) -> None: ...


class _Bounded(io.BufferedReader):
    """A file that is never asked for more bytes than it has.

    In torch's format from before version 1.6, a string states its own length. A damaged one may
    claim gigabytes, and Python allocates what `read` is asked for before it looks at the file.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(os.fstat(self.fileno()).st_size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def _loaded(path: Path | str) -> object:
    try:
        screening.screen(path, _IGNORED)
    except Refused as error:
        raise DataError(f"{path} is refused, and nothing of it was run: {plain(error)}") from error
    except Exception as error:
        raise _not_a_checkpoint(path) from error
    try:
        # The classes in the pickle that torch does not trust, found without importing any.
        names = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # torch raises a dozen kinds of errors; `torch.load` below reports them
        names = []
    inert: list[Any] = [(_Inert, name) for name in names if name.startswith(_IGNORED)]
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            safe_globals(inert),
            _Bounded(io.FileIO(path)) as file,
        ):
            # Zip files state their sizes in a directory, and torch reads them faster by name.
            source = path if file.peek(2)[:2] == b"PK" else file
            return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own message recommends to switch the protection off
        raise _not_a_checkpoint(path) from error


def _not_a_checkpoint(path: Path | str) -> CdmlLabError:
    return DataError(
        f"{path} is not a checkpoint, or contains objects other than tensors, which could run "
        f"code when read"
    )


def _inside(loaded: object, path: Path | str) -> State:
    """The state dict in a loaded file, which may be a training checkpoint around it."""
    # Training checkpoints keep the network one level down; the first known key wins.
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
        raise CdmlLabError(
            f"{path} does not contain a state dict, which maps names of parameters to tensors"
        )
    return cast(State, loaded)


def _some(items: list[str], most: int = 4) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
