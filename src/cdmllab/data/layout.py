"""Which byte of a pack means what: for drawing, and for understanding a damaged file."""

from typing import NamedTuple

from cdmllab.data.recordio import FIRST, LONGEST, WHOLE
from cdmllab.data.records import HEADER_BYTES


class Field(NamedTuple):
    """A run of bytes with one meaning."""

    kind: str  # "magic", "length", "flag", "label", "ids", "labels", "image" or "padding"
    start: int
    end: int


def fields(data: bytes) -> list[Field]:
    """The fields of the image records in a ``.rec`` file, or in the beginning of one.

    The first bytes of a continued part (kind 2 or 3) belong to its image.
    """
    segments: list[Field] = []
    position = 0
    while position < len(data):
        # The second word of a record: its kind in the upper 3 bits, its length in the lower 29.
        word = int.from_bytes(data[position + 4 : position + 8], "little")
        segments += [
            Field("magic", position, position + 4),
            Field("length", position + 4, position + 8),
        ]
        start, end = position + 8, position + 8 + (word & LONGEST)
        # Only the first part of an image has a header:
        # flag, label and two ids, then further labels.
        if word >> 29 in (WHOLE, FIRST) and end - start >= HEADER_BYTES:
            count = int.from_bytes(data[start : start + 4], "little")
            at = start + HEADER_BYTES
            segments += [
                Field("flag", start, start + 4),
                Field("label", start + 4, start + 8),
                Field("ids", start + 8, at),
                Field("labels", at, min(at + 4 * count, end)),
            ]
            start = min(at + 4 * count, end)
        position = end + 3 & ~3  # records start at multiples of four
        segments += [Field("image", start, end), Field("padding", end, position)]
    # At the end of `data` fields may be cut off; drop those without bytes.
    cut = (Field(kind, start, min(end, len(data))) for kind, start, end in segments)
    return [field for field in cut if field.end > field.start]
