"""The state of a training as safetensors and JSON, written by some ranks and read by any number.

A folder contains ``state.json``, with the plain values and the type, shape and split of each
tensor, and ``rank-00000.safetensors`` and so on with each rank's rows. None of them is a pickle, so
reading them runs no code. They are not trusted either: only the tensors of the state that is filled
are read, and each must have exactly the expected type and shape.

``torch.distributed.checkpoint`` has a writer and a reader for safetensors too, but they handle
tensors only, and the reader silently leaves gaps that the files do not cover.
"""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cdmllab._util.files import read_bytes, sync, write_text
from cdmllab.errors import CdmlLabError, DataError, cause, plain, reading
from cdmllab.heads._process_group import Ranks
from cdmllab.training import yaml_header

FORMAT: Final = "cdmllab-state-1"
INDEX = "state.json"
# Bytes of a JSON file; a network with a thousand tensors needs a quarter of a million.
_LARGEST = 8 << 20
NAMES = re.compile(r"state\.json|rank-[0-9]{5}\.safetensors")
"""The possible names of files in such a folder."""

State = dict[str, Any]
"""Nested dicts of tensors, DTensors with ``Shard(0)``, numbers, text, bools and None."""

_Number = (
    Annotated[int, Field(ge=-(2**63), lt=2**63)] | Annotated[float, Field(allow_inf_nan=False)]
)
Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of JSON models: no unknown keys, no conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TensorEntry(Strict):
    """A tensor's type and full shape, and the rows that each rank wrote if it is split."""

    dtype: str
    shape: list[NonNegativeInt] = Field(max_length=16)
    rows: list[NonNegativeInt] | None = Field(None, max_length=99_999)


class Index(Strict):
    """``state.json``; a name is the path of keys, joined by slashes."""

    format: Literal["cdmllab-state-1"]
    plain: dict[str, bool | _Number | str | None]
    tensors: dict[str, TensorEntry]


def parsed(path: Path, model: type[Model]) -> Model:
    """Read a JSON file of such a folder.

    Raises
    ------
    DataError : it is missing, not a regular file, not JSON, or does not match the model
    """
    text = read_bytes(path, "readable JSON", at_most=_LARGEST, links=False)
    with reading(path, "readable JSON"):
        try:
            return model.model_validate_json(text)
        except ValidationError as error:
            raise DataError(
                plain(f"{plain(path, 200)}: {yaml_header.complaint(error, 'the file')}")
            ) from error


def nbytes(state: State) -> int:
    """Bytes of all tensors of a state, summed over all ranks."""
    return sum(
        value.numel() * value.element_size()
        for *_, value in _leaves(state)
        if isinstance(value, Tensor)
    )


@torch.no_grad()
def write(folder: Path, state: State) -> None:
    """Write this rank's part of a state; the first rank also writes what is equal on all.

    Raises
    ------
    CdmlLabError : the disk is full, or writing fails for another reason
    """
    ranks = Ranks.current()
    own_tensors: dict[str, Tensor] = {}
    values, entries = {}, {}
    for _, _, name, value in _leaves(state):
        if not isinstance(value, Tensor):
            values[name] = value
            continue
        # The first rank writes what is equal on all; of a split tensor each rank writes its rows.
        share, rows, here = _share(value, ranks), None, ranks.rank == 0
        if share is not None:
            rows, here = (
                [len(ranks.share(len(value), rank)) for rank in range(ranks.size)],
                len(share) > 0,
            )
        entries[name] = TensorEntry(dtype=_dtype(value), shape=list(value.shape), rows=rows)
        if here:
            # safetensors stores contiguous tensors only.
            own_tensors[name] = _local(value).contiguous()
    if own_tensors:
        path = folder / _file(ranks.rank)
        try:
            save_file(own_tensors, path)
        except SafetensorError as error:
            raise CdmlLabError(f"{path} could not be written: {cause(error)}") from error
        sync(path)
    if ranks.rank == 0:
        write_text(
            folder / INDEX,
            Index(format=FORMAT, plain=values, tensors=entries).model_dump_json(indent=1) + "\n",
        )
        sync(folder / INDEX)


@torch.no_grad()
def read(folder: Path, state: State) -> None:
    """Fill a state in place, on any number of ranks; ignores everything else in the folder.

    Raises
    ------
    DataError : something is missing, damaged, or of another type or shape
    """
    index = parsed(folder / INDEX, Index)
    ranks = Ranks.current()
    with ExitStack() as stack:
        files: dict[int, Any] = {}

        # Opened at the first request, and kept open for the other tensors.
        def source(rank: int) -> Any:
            if rank not in files:
                path = folder / _file(rank)
                with reading(path, "readable safetensors"):
                    files[rank] = stack.enter_context(safe_open(os.fspath(path), framework="pt"))
            return files[rank]

        # A list, because plain values are replaced in the dicts that are iterated over.
        for inside, key, name, value in list(_leaves(state)):
            with reading(folder, f"a readable checkpoint ({plain(name, 80)})"):
                if isinstance(value, Tensor):
                    _fill(value, name, index, _share(value, ranks), source, folder)
                else:
                    inside[key] = _value(value, name, index, folder)


def _fill(
    tensor: Tensor, name: str, index: Index, share: range | None, source: Any, folder: Path
) -> None:
    entry = index.tensors.get(name)
    if entry is None:
        raise DataError(f"{folder} does not contain {name}")
    if (entry.dtype, entry.shape) != (_dtype(tensor), list(tensor.shape)):
        stored_form = f"{plain(entry.dtype, 20)} {plain(entry.shape, 60)}"
        raise DataError(
            f"{folder}: {name} is {stored_form}, expected {_dtype(tensor)} {list(tensor.shape)}"
        )
    target = _local(tensor)
    # A scalar has no rows: the first rank has written it.
    if not tensor.ndim:
        target.copy_(_checked(source(0).get_tensor(name), target, folder / _file(0), name))
        return
    # Without a split the first rank has written all rows.
    rows = [len(tensor)] if entry.rows is None else entry.rows
    if sum(rows) != len(tensor):
        raise DataError(
            f"{folder}: {name} has {len(tensor):,} rows, but its parts have {sum(rows):,}"
        )
    want, first = range(len(tensor)) if share is None else share, 0
    # From each writer copy the rows that are wanted here.
    for rank, count in enumerate(rows):
        here = range(max(want.start, first), min(want.stop, first + count))
        if here:
            part = source(rank).get_slice(name)
            if part.get_shape() != [count, *tensor.shape[1:]]:
                raise DataError(f"{folder / _file(rank)}: {name} has the shape {part.get_shape()}")
            into = target[here.start - want.start : here.stop - want.start]
            into.copy_(
                _checked(
                    part[here.start - first : here.stop - first], into, folder / _file(rank), name
                )
            )
        first += count


def _checked(stored: Tensor, expected: Tensor, path: Path, name: str) -> Tensor:
    """Check a tensor against the index; `copy_` would silently convert and broadcast it."""
    if (stored.dtype, stored.shape) != (expected.dtype, expected.shape):
        raise DataError(f"{path}: {name} is {_dtype(stored)} {list(stored.shape)}")
    return stored


def _value(old: Any, name: str, index: Index, folder: Path) -> Any:
    if name not in index.plain:
        raise DataError(f"{folder} does not contain {name}")
    new = index.plain[name]
    # None may replace any value, and any value None.
    if type(new) is not type(old) and None not in (old, new):
        raise DataError(
            f"{folder}: {name} is a {type(new).__name__}, expected a {type(old).__name__}"
        )
    return new


def _leaves(state: State, above: str = "") -> Iterator[tuple[State, str, str, Any]]:
    """Iterate over leaves: the dict that contains it, its key, its name, its value."""
    for key, value in state.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}/")
        else:
            yield state, key, f"{above}{key}", value


def _share(tensor: Tensor, ranks: Ranks) -> range | None:
    """The rows of a DTensor on this rank; None for a tensor that is equal on all ranks."""
    placements = getattr(tensor, "placements", None)
    if placements is None:
        return None
    # The rule of `Shard(0)`, compared below with the rows that are really here.
    share = ranks.share(len(tensor))
    if len(placements) != 1 or not placements[0].is_shard(0) or len(_local(tensor)) != len(share):
        raise ValueError(
            f"only replicated tensors and tensors split by rows can be stored, got {placements}"
        )
    return share


def _local(tensor: Tensor) -> Tensor:
    """The part on this rank, without a copy."""
    # Only a DTensor has `to_local`; any other tensor is its own part.
    local: Tensor = getattr(tensor, "to_local", lambda: tensor)()
    return local.detach()


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _file(rank: int) -> str:
    return f"rank-{rank:05d}.safetensors"
