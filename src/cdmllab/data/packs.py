"""InsightFace packs: ``train.rec`` with ``train.idx`` and ``property``, read without mxnet.

Record 0 may be a header, flag 2 and labels [N + 1, N + 1 + identities]; then the images are keys
1 .. N, and the records from N + 1 have the range [start, end) of each identity. Packs made by
im2rec have no header, and every record is an image.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab._util import files
from cdmllab.data import records, sniff
from cdmllab.data.decode import Colour
from cdmllab.data.encoded import read_rows
from cdmllab.data.recordio import RecordFile, read_index
from cdmllab.data.sets import LARGEST_LABEL, checked
from cdmllab.data.walk import files_in
from cdmllab.errors import DataError, reader

_NUMBER = re.compile("-?[0-9]{1,18}", re.ASCII)
_LARGEST_PROPERTY, _LARGEST_SIDE = 1 << 20, 65_535  # bytes of the file, pixels
_MANY = 1000  # how many more identities than records a pack may declare: its index may lack some
_JPEG = 0xFFD8FF  # how a JPEG starts, read as a little-endian word


class Property(NamedTuple):
    """The content of the ``property`` file."""

    num_identities: int
    height: int
    width: int
    images: int | None = None  # on a second line, where InsightFace's RecBuilder writes it


class Pack:
    """A training set in an InsightFace pack; images are decoded when they are read.

    Parameters
    ----------
    path : the pack's folder, or its ``.rec`` file
    num_identities : expected number, for instance by a config; default: that of the pack
    colour : ``"RGB"`` or ``"GRAY"``
    fast : faster decoding, not bit-identical to Pillow's

    Raises
    ------
    DataError : not a pack, a damaged one, or labels that are not integers in
        0 .. num_identities - 1
    """

    @reader("a readable pack")
    def __init__(
        self,
        path: Path | str,
        *,
        num_identities: int | None = None,
        colour: Colour = "RGB",
        fast: bool = False,
    ) -> None:
        self.path = rec_file(Path(path))
        index = self.path.with_suffix(".idx")
        # The index may be in any order; records are kept in the order of the file.
        if index.exists():
            self.keys, offsets = read_index(index)
            order = np.argsort(offsets, kind="stable")
            self.keys, self.file = self.keys[order], RecordFile(self.path, offsets[order])
        else:
            self.file = RecordFile(self.path)
            self.keys = np.arange(len(self.file))
        self.header = self._header()
        self.property = read_property(self.path.parent / "property")
        self.records = self._images()  # [n] record of each row
        raw = self._raw_labels()
        declared = (
            # Identities by the header, else by the property file.
            self.header[1] - self.header[0]
            if self.header
            else self.property and self.property.num_identities
        )
        # A damaged number would otherwise allocate a counter for each identity it declares.
        if declared is not None and declared > len(self.file) + _MANY:
            raise DataError(
                f"{self.path} announces {declared:,} identities, and has {len(self.file):,} records"
            )
        if num_identities is not None and declared is not None and declared > num_identities:
            raise DataError(
                f"{self.path} has {declared:,} identities, {num_identities:,} are expected"
            )
        self.labels = checked(raw, num_identities or declared, str(self.path))
        self.num_identities = num_identities or declared or int(self.labels.max(initial=-1)) + 1
        self.colour: Colour = colour
        self._fast = fast

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"Pack({self.path}: {len(self):,} images of {self.num_identities:,} identities)"

    def image(self, row: int) -> memoryview:
        """The encoded image of a row, a view into the file."""
        record = int(self.records[row])
        return records.unpack(self.file[record], self._where(row)).image

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """Decode the images of some rows: uint8 of shape (rows, height, width, 1 or 3).

        Raises
        ------
        DataError : an image cannot be decoded, or differs in size from the first
        """
        return read_rows(rows, self.image, self._where, self.path, self.colour, self._fast)

    def gaps(self) -> NDArray[np.int64]:
        """Identities without an image."""
        return np.flatnonzero(np.bincount(self.labels, minlength=self.num_identities) == 0)

    def _where(self, row: int) -> str:
        return f"{self.path}, record {self.keys[self.records[row]]}"

    def _header(self) -> tuple[int, int] | None:
        """The two labels of record 0 if it is a header."""
        # Key 0 may be missing, and if it is an image the pack has no header.
        zero = np.flatnonzero(self.keys == 0)
        if len(zero) == 0:
            return None
        record = records.unpack(self.file[int(zero[0])], f"{self.path}, record 0")
        if record.flag == 0 or len(record.image):
            return None
        if record.flag < 2 or not np.isfinite(record.labels[:2]).all():
            raise DataError(
                f"{self.path}, record 0: a header has two numbers, this one has "
                f"{record.labels.tolist()}"
            )
        first, end = (int(label) for label in record.labels[:2])
        if not 1 <= first <= end <= first + LARGEST_LABEL:
            raise DataError(f"{self.path}, record 0: a header of {first}, {end} makes no sense")
        # Rounded in float32 beyond.
        return (first, end) if end < LARGEST_LABEL else self._exact(first, end)

    def _exact(self, first: int, end: int) -> tuple[int, int]:
        """`exact_header` with the records of this pack."""
        order = np.argsort(self.keys, kind="stable")
        ordered = self.keys[order]

        def is_range(key: int) -> bool:
            at = int(np.searchsorted(ordered, key))
            if at == len(ordered) or ordered[at] != key:
                return False
            # A range is a record with labels and no image.
            return (
                len(records.unpack(self.file[int(order[at])], f"{self.path}, record {key}").image)
                == 0
            )

        return exact_header(first, end, int(ordered[-1]), is_range)

    def _images(self) -> NDArray[np.int64]:
        if self.header is None:
            return np.argsort(self.keys, kind="stable")
        order = np.argsort(self.keys, kind="stable")
        ordered = self.keys[order]
        first = self.header[0]
        # The images are the keys 1 .. N, by rising key; ranges follow and are no rows.
        chosen = order[(ordered >= 1) & (ordered < first)]
        if len(chosen) != first - 1:
            raise DataError(
                f"{self.path}: its header announces {first - 1:,} images, there are {len(chosen):,}"
            )
        return chosen

    def _raw_labels(self) -> NDArray[np.float64]:
        """The first label of each image, read from the mapped words where the record allows it.

        Unpacking millions of records one by one would take minutes. The words suffice where a
        record is in one part, and has its label in the header or clearly before a JPEG.
        """
        words, starts = self.file.words, self.file.offsets[self.records] // 4
        labels = np.empty(len(starts), dtype=np.float64)
        # Records in one part that are long enough for the header, judged by the second word.
        plain = self.file.in_one_part()[self.records] & (words[starts + 1] >= records.HEADER_BYTES)
        # The payload in words: flag, label, two ids of two words, then more labels or the image.
        at = starts[plain] + 2
        count = words[at].astype(np.int64)
        room = words[starts[plain] + 1] > records.HEADER_BYTES + 4 * count
        image = np.minimum(at + 6 + count, len(words) - 1)
        # Read the label here if it is in the header, or if a JPEG clearly starts
        # after the labels. Float64 labels and other formats are left to `unpack`.
        read = (count == 0) | ((count < 16) & room & (words[image] & 0xFFFFFF == _JPEG))
        # The label in the header is word 1 of the payload, the first of several is word 6.
        labels[np.flatnonzero(plain)[read]] = words[(at + np.where(count == 0, 1, 6))[read]].view(
            "<f4"
        )
        plain[plain] = read
        # All other records one by one.
        for row in np.flatnonzero(~plain).tolist():
            labels[row] = records.unpack(
                self.file[int(self.records[row])], self._where(row)
            ).labels[0]
        return labels


def exact_header(
    first: int, end: int, largest: int, is_range: Callable[[int], bool]
) -> tuple[int, int]:
    """The header's numbers N + 1 and N + 1 + identities, undoing the rounding to float32.

    Integers are exact in float32 up to 2^24 = 16,777,216, and only every second one above. So the
    header of 17 million images may be off by one, and readers that trust it miss the last image or
    take a range for an image.

    Parameters
    ----------
    first, end : as in the header
    largest : the largest key in the pack
    is_range : whether a key's record is the range of an identity, which has no image
    """
    # The first key that is a range is the true N + 1; the last key ends the identities.
    start = next((key for key in _alike(first) if is_range(key)), first)
    return start, largest + 1 if largest + 1 in _alike(end) else end


def _alike(number: int) -> list[int]:
    """All integers that are rounded to the same float32, in order."""
    if not LARGEST_LABEL <= number < 2**31:
        return [number]
    step = int(np.spacing(np.float32(number)))
    return [
        k for k in range(number - step, number + step + 1) if np.float32(k) == np.float32(number)
    ]


def rec_file(path: Path) -> Path:
    """The ``.rec`` file of a path: itself, or the one in the folder.

    Raises
    ------
    DataError : there is none, or several of which none is ``train.rec``
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"{path} does not exist")
    rec_files = files_in(path, "*.rec")
    if (path / "train.rec") in rec_files:  # of several, the one that every reader expects
        return path / "train.rec"
    if len(rec_files) != 1:
        raise DataError(
            f"{path} is not a pack: it contains {len(rec_files)} .rec files, and none is train.rec"
        )
    return rec_files[0]


def read_property(path: Path) -> Property | None:
    """Identities and image size from a ``property`` file; None if there is none.

    The first line is ``identities,height,width``. InsightFace's ``RecBuilder`` writes the number of
    images on a second line, and ``rec2shufrec.py`` more lines after it, which are ignored.

    Raises
    ------
    DataError : the first line has another form
    """
    if not path.is_file():
        return None
    data = files.read_bytes(path, "a readable property file", at_most=_LARGEST_PROPERTY)
    first, *more = data.decode("utf-8-sig", errors="replace").strip().splitlines() or [""]
    fields = [field.strip() for field in first.split(",")]
    if len(fields) != 3 or not all(_NUMBER.fullmatch(field) for field in fields):
        actual = f"it reads {first[:60]!r}{sniff.hint(data)}"
        raise DataError(f"{path} must read `identities,height,width`, {actual}")
    identities, height, width = map(int, fields)
    if min(identities, height, width) < 1:
        raise DataError(f"{path} reads {first[:60]!r}: none of the three can be below 1")
    if identities > LARGEST_LABEL or max(height, width) > _LARGEST_SIDE:
        raise DataError(
            f"{path} reads {first[:60]!r}: no pack has as many identities, or pixels a side"
        )
    count = more[0].strip() if more else ""
    return Property(identities, height, width, int(count) if _NUMBER.fullmatch(count) else None)
