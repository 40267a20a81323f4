"""Image records: the payload of a RecordIO record in MXNet's packs.

A header of 24 bytes comes before the image: u32 flag, f32 label, u64 id, u64 id2, little-endian. A
flag n > 0 means that n labels follow it, as float32, or as float64 from one legacy packer. Source:
MXNet, ``recordio.py``.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdmllab.errors import DataError

_HEADER = struct.Struct("<IfQQ")
HEADER_BYTES = _HEADER.size
_IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"RIFF", b"GIF8")  # JPEG, PNG, BMP, WebP, GIF


class ImageRecord(NamedTuple):
    """The fields of one record."""

    flag: int  # number of labels after the header; 0: the label is in it
    labels: NDArray[np.float64]  # [max(flag, 1)]
    id: int
    id2: int
    image: memoryview  # encoded, usually JPEG; empty in records without an image


def unpack(payload: memoryview, where: str) -> ImageRecord:
    """Unpack a payload; `where` (file and record) is named in errors.

    Raises
    ------
    DataError : shorter than its header and labels
    """
    if len(payload) < HEADER_BYTES:
        raise DataError(
            f"{where}: {len(payload)} bytes are too few for the header of {HEADER_BYTES}"
        )
    flag, label, id_, id2 = _HEADER.unpack_from(payload)
    rest = payload[HEADER_BYTES:]
    if flag == 0:
        return ImageRecord(0, np.array([label], dtype=np.float64), id_, id2, rest)
    if 4 * flag > len(rest):
        raise DataError(
            f"{where}: it announces {flag:,} labels, and only {len(rest):,} bytes follow"
        )
    # The legacy packer is recognised by where the image starts, see below.
    dtype, width = ("<f8", 8) if _are_float64(rest, flag) else ("<f4", 4)
    labels = np.frombuffer(rest, dtype=dtype, count=flag).astype(np.float64)
    return ImageRecord(flag, labels, id_, id2, rest[width * flag :])


def pack(
    labels: float | Sequence[float], image: bytes | memoryview = b"", *, id_: int = 0, id2: int = 0
) -> bytes:
    """The payload of one record: a single label in the header, or several float32 after it."""
    if isinstance(labels, int | float):
        return _HEADER.pack(0, float(labels), id_, id2) + bytes(image)
    many = np.asarray(labels, dtype="<f4")
    return _HEADER.pack(len(many), 0.0, id_, id2) + many.tobytes() + bytes(image)


def _are_float64(rest: memoryview, count: int) -> bool:
    """Whether the labels have 8 bytes each, judged by where the image or the record's end is."""
    # Ends exactly with float32 labels, or is too short for float64.
    if len(rest) == 4 * count or len(rest) < 8 * count:
        return False
    # Ends exactly with float64 labels, unless an image starts where float32 labels would end.
    if len(rest) == 8 * count:
        return not _starts_image(rest[4 * count :])
    return _starts_image(rest[8 * count :]) and not _starts_image(rest[4 * count :])


def _starts_image(data: memoryview) -> bool:
    return bytes(data[:4]).startswith(_IMAGE_STARTS)
