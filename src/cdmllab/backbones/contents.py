"""Checks of tensors from untrusted files, before any memory is allocated for them."""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cdmllab.backbones.base import Backbone
from cdmllab.errors import DataError, plain
from cdmllab.preprocessing import Preprocessing, channels_of

_ROOM, _RATIO = 64 << 20, 4  # bytes of all tensors together; or a multiple of the file's
_TYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)


def check_tensors(tensors: Mapping[Any, Any], path: Path | str) -> None:
    """Reject tensors that are larger than their data in the file, and names that are not text.

    A tensor with stride 0 needs a few bytes in a file, but any amount of memory once converted. So
    do thousands of names of one tensor.

    Raises
    ------
    DataError : naming the tensor
    """
    most = max(_ROOM, _RATIO * Path(path).stat().st_size)
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise DataError(
                f"{path}: the names of tensors must be text, got {plain(repr(name), 40)}"
            )
        label = f"{path}: {plain(name, 60)}"
        if not isinstance(tensor, Tensor):
            raise DataError(f"{label} is not a tensor")
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise DataError(f"{label} is not a plain tensor")
        if tensor.dtype not in _TYPES:
            raise DataError(
                f"{label} has the type {str(tensor.dtype).removeprefix('torch.')}, which no "
                f"network here uses"
            )
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise DataError(
                f"{label} claims {tensor.numel():,} values, but the file contains fewer"
            )
        most -= tensor.numel() * tensor.element_size()
        if most < 0:
            raise DataError(f"{label} and those before it share their values too often")


def check_input(net: Backbone, preprocessing: Preprocessing, path: Path | str) -> None:
    """Reject a release whose preprocessing does not fit its network or is not finite.

    Raises
    ------
    DataError : naming the file and the values that do not fit
    """
    channels = channels_of(preprocessing)
    if (preprocessing["size"], channels) != (net.size, net.channels):
        given = f"{channels} x {plain(preprocessing['size'], 20)} pixels"
        raise DataError(
            f"{path}: its preprocessing gives {given}, but the network takes {net.channels} x "
            f"{net.size}"
        )
    if not all(math.isfinite(number) for key in ("mean", "std") for number in preprocessing[key]):
        raise DataError(f"{path}: its preprocessing has a mean or std that is not finite")


def check_archive(path: Path | str) -> None:
    """Reject a ``.pth`` file, which is a zip archive, with compressed members.

    torch never compresses them, and a small compressed file could fill the memory.

    Raises
    ------
    DataError : naming the member
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            # A stored member is as large as its data; the second test catches a header that lies.
            if (
                member.compress_type != zipfile.ZIP_STORED
                or member.file_size != member.compress_size
            ):
                raise DataError(
                    f"{path}: {plain(member.filename, 60)} is compressed, which files written by "
                    f"torch never are"
                )
