"""Whether tensors from a file are what they promise, before anything is allocated for them."""

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
    """Refuse tensors that say they are larger than what the file holds of them, and names that are
    no text.

    A tensor of stride 0 takes a few bytes in a file and any number in memory once it is converted.

    Raises
    ------
    DataError : naming the tensor
    """
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise DataError(
                f"{path}: the names of tensors must be text, got {plain(repr(name), 40)}"
            )
        shown = f"{path}: {plain(name, 60)}"
        if not isinstance(tensor, Tensor):
            raise DataError(f"{shown} is no tensor")
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise DataError(f"{shown} is no plain tensor")
        if tensor.dtype not in _TYPES:
            raise DataError(
                f"{shown} holds {str(tensor.dtype).removeprefix('torch.')}, which no network here "
                f"has"
            )
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise DataError(f"{shown} promises {tensor.numel():,} numbers, and the file has fewer")


def check_input(net: Backbone, preprocessing: Preprocessing, path: Path | str) -> None:
    """Refuse a release whose images are made for another network, or by numbers that are none.

    Raises
    ------
    DataError : says what it is
    """
    channels = channels_of(preprocessing)
    if (preprocessing["size"], channels) != (net.size, net.channels):
        given = f"{channels} x {plain(preprocessing['size'], 20)} pixels"
        raise DataError(
            f"{path}: its preprocessing gives {given}, and the network takes {net.channels} x "
            f"{net.size}"
        )
    if not all(math.isfinite(number) for key in ("mean", "std") for number in preprocessing[key]):
        raise DataError(f"{path}: its preprocessing has a mean or std that is not finite")


def check_archive(path: Path | str) -> None:
    """Refuse a ``.pth`` file, which is a zip, that holds more than its own size: torch never
    compresses.

    Raises
    ------
    DataError : naming the member
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if (
                member.compress_type != zipfile.ZIP_STORED
                or member.file_size != member.compress_size
            ):
                raise DataError(
                    f"{path}: {plain(member.filename, 60)} is compressed, which torch's own files "
                    f"are not"
                )
