"""EXIF orientation: read the tag, and turn pixels accordingly.

A phone stores the sensor's rows as they come and notes in the tag ``Orientation`` (0x0112) how to
turn them. Source: Exif 2.32 (CIPA DC-008), 4.6.4, and TIFF 6.0 for the layout of the tag.
"""

import struct

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # [height, width, channels]
UPRIGHT = 1
_TAG = 0x0112
_VALUE = {
    1: "B",
    3: "H",
    4: "I",
}  # TIFF types BYTE, SHORT, LONG; the standard requires SHORT, but some cameras differ
_PREFIX = b"Exif\0\0"
_START_OF_SCAN, _APP1 = 0xDA, 0xE1


def of_jpeg(data: bytes | memoryview) -> int:
    """The orientation in a JPEG's EXIF, 1 (upright) to 8; 1 if there is none that can be read."""
    position = 2  # after the marker that every JPEG begins with
    # Walk through the segments; each has a marker and
    # then a length that includes its own two bytes.
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker == _START_OF_SCAN:  # the metadata is over
            break
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _APP1 and data[position + 4 : position + 4 + len(_PREFIX)] == _PREFIX:
            return of_exif(bytes(data[position + 4 : end]))
        position = end
    return UPRIGHT


def of_exif(exif: bytes) -> int:
    """The orientation in an EXIF block, with or without its prefix; 1 if none can be read."""
    tiff = exif.removeprefix(_PREFIX)
    # Byte order by the first two letters: Intel or Motorola; 42 follows in that order.
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        # Offset of the first directory, its number of entries,
        # then entries of 12 bytes: tag, type, count and value.
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", tiff, entry)
            if tag == _TAG and kind in _VALUE:
                (value,) = struct.unpack_from(order + _VALUE[kind], tiff, entry + 8)
                return int(value) if 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass  # truncated or damaged: other readers ignore it too
    return UPRIGHT


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn and mirror pixels (height, width, channels) by an orientation of 1 to 8."""
    # What undoes each value: 2 to 4 mirror and turn by
    # 180 degrees, 5 to 8 also swap rows and columns.
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(pixels),
    }[orientation]
    return np.ascontiguousarray(turned)
