"""Weights in TensorFlow.js's format: a JSON manifest, and files of plain or quantised values.

The manifest is a list of groups. The concatenated files of a group contain the values of its
tensors, one tensor after the other, little-endian. A quantised value q stands for q x scale + min.
Source: https://github.com/tensorflow/tfjs/blob/master/tfjs-core/src/io/io_utils.ts.
"""

import math
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    FiniteFloat,
    NonNegativeInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from cdmllab._util import files
from cdmllab.errors import DataError, MissingError, reader

Array = NDArray[np.generic]
_LARGEST = 8 << 30  # bytes; larger files are rejected
# NumPy's name for each stored type; "<" is little-endian.
_STORED = {
    "float32": "<f4",
    "int32": "<i4",
    "uint8": "u1",
    "bool": "u1",
    "uint16": "<u2",
    "float16": "<f2",
}


class Quantisation(BaseModel):
    """How a tensor was quantised; float16 has neither scale nor min."""

    model_config = ConfigDict(strict=True)

    dtype: Literal["uint8", "uint16", "float16"]
    scale: FiniteFloat | None = None
    min: FiniteFloat | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Quantisation":
        if self.dtype != "float16" and (self.scale is None or self.min is None):
            raise ValueError(f"quantisation to {self.dtype} needs scale and min")
        return self


class Weight(BaseModel):
    """One tensor."""

    model_config = ConfigDict(strict=True)

    name: str
    shape: list[NonNegativeInt]
    dtype: Literal["float32", "int32", "bool"]
    quantization: Quantisation | None = None

    @model_validator(mode="after")
    def _of_floats(self) -> "Weight":
        if self.quantization is not None and self.dtype != "float32":
            raise ValueError(
                f"{self.name} is quantised {self.dtype}: only float32 can be quantised"
            )
        return self

    @property
    def stored(self) -> np.dtype[np.generic]:
        """The type of its values in the file."""
        return np.dtype(_STORED[self.quantization.dtype if self.quantization else self.dtype])

    @property
    def size(self) -> int:
        """Its size in the file, in bytes."""
        return math.prod(self.shape) * self.stored.itemsize


class Group(BaseModel):
    """Tensors that share some files."""

    model_config = ConfigDict(strict=True)

    paths: list[str]
    weights: list[Weight]


@reader("a manifest of weights")
def read(path: Path | str) -> dict[str, Array]:
    """Read all tensors by name, in the order of the file, with TensorFlow's order of axes.

    Quantised tensors are returned in float32.

    Raises
    ------
    DataError : a file is missing, the manifest is invalid, a name occurs twice, or the files have
        more or fewer bytes than the tensors need
    """
    path = Path(path)
    tensors: dict[str, Array] = {}
    for group in _groups(path):
        # The files of a group are one stream: a tensor may continue in the next file.
        content = b"".join(_file(path, name) for name in group.paths)
        start = 0
        for weight in group.weights:
            if weight.name in tensors:
                raise DataError(f"{path} has two tensors named {weight.name}")
            part = content[start : start + weight.size]
            if len(part) < weight.size:
                raise DataError(
                    f"{path}: {weight.name} needs {weight.size:,} bytes of "
                    f"{', '.join(group.paths)}, but only {len(part):,} are left: the file is "
                    f"truncated"
                )
            tensors[weight.name] = _values(weight, part)
            start += weight.size
        # Bytes that no tensor needs mean that manifest and files do not belong together.
        if start != len(content):
            raise DataError(
                f"{path}: {', '.join(group.paths)} has {len(content):,} bytes, but its tensors "
                f"need only {start:,}"
            )
    return tensors


def _groups(path: Path) -> list[Group]:
    try:
        return TypeAdapter(list[Group]).validate_json(
            files.read_bytes(path, "a manifest of weights")
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{path} is not a manifest of weights{f', at {place}' if place else ''}: {first['msg']}"
        ) from None


def _file(manifest: Path, name: str) -> bytes:
    # Only a bare file name: no folder in the notation of any system, no drive letter, no NUL.
    if PurePosixPath(name).name != name or name in ("", "..") or set(name) & set("\\:\0"):
        raise DataError(f"{manifest} names the file {name!r}, which is not in the same folder")
    try:
        return files.read_bytes(manifest.parent / name, "a file of weights", at_most=_LARGEST)
    except MissingError:
        raise DataError(
            f"{manifest.parent / name} does not exist, but is listed in {manifest.name}"
        ) from None


def _values(weight: Weight, part: bytes) -> Array:
    stored = np.frombuffer(part, weight.stored).reshape(weight.shape)
    quantisation = weight.quantization
    if quantisation is None:
        return stored.astype(weight.dtype)
    # float16 values are only shortened: there is nothing to scale.
    if quantisation.scale is None or quantisation.min is None:
        return stored.astype(np.float32)
    # In double precision and rounded once, like the numbers of JavaScript.
    return (stored.astype(np.float64) * quantisation.scale + quantisation.min).astype(np.float32)
