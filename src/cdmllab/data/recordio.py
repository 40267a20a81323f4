"""RecordIO, the container of MXNet's packs: a sequence of records that begin with a magic word.

A record is u32 magic, u32 ``part << 29 | length``, the payload, and zeros up to a multiple of 4,
all little-endian. A payload with the magic word at a multiple of 4 is split there: the word is
dropped, and the reader puts it back. So an aligned magic word in the file always starts a part.
Source: dmlc-core, ``recordio.h``.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from cdmllab._util import files
from cdmllab.data import sniff
from cdmllab.errors import DataError, reader

MAGIC = 0xCED7230A
WORD = struct.pack("<I", MAGIC)
WHOLE, FIRST, MIDDLE, LAST = range(4)
LONGEST = 2**29 - 1  # bytes of one part
_MOST_PARTS = 100_000  # of a record; random bytes contain the word once in 2^32 words
_LARGEST_INDEX = 4 << 30  # bytes
_HEADER = struct.Struct("<II")


class RecordFile:
    """A RecordIO file, mapped into memory: `len`, ``file[k]`` (a view, not a copy), iteration.

    Parameters
    ----------
    path : the ``.rec`` file
    offsets : where the records start, shape (n,), from an index; None scans the file

    Raises
    ------
    DataError : the file is empty, or damaged where it was read; the message names record and byte
    """

    def __init__(self, path: Path | str, offsets: NDArray[np.int64] | None = None) -> None:
        self.path = Path(path)
        with files.opened(self.path, at_most=2**62) as file:
            self.size = file.seek(0, 2)
            if self.size == 0:
                raise DataError(f"{self.path} is empty")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._map)
        self.words: NDArray[np.uint32] = np.frombuffer(
            self._view[: self.size // 4 * 4], dtype="<u4"
        )  # [size / 4]
        self.offsets = scan(self._view, self.path) if offsets is None else self._checked(offsets)
        self._starts: list[int] = self.offsets.tolist()

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, record: int) -> memoryview:
        """The payload of one record; if it is in one part, a view into the mapped file."""
        start = self._starts[record]
        magic, word = _HEADER.unpack_from(self._map, start)
        # The usual record is one intact part, which is a view;
        # all others, damage included, take the slow way.
        end = start + 8 + (word & LONGEST)
        if magic == MAGIC and word <= LONGEST and end <= self.size:
            return self._view[start + 8 : end]
        return memoryview(WORD.join(parts(self._view, start, self.path, record)[0]))

    def __iter__(self) -> Iterator[memoryview]:
        # Local names, because attribute lookups add up over millions of records.
        view, mapped, size, unpack = self._view, self._map, self.size, _HEADER.unpack_from
        for record, start in enumerate(self._starts):
            magic, word = unpack(mapped, start)
            end = start + 8 + (word & LONGEST)
            yield (
                view[start + 8 : end]
                if magic == MAGIC and word <= LONGEST and end <= size
                else self[record]
            )

    # A map cannot be pickled, for instance for a worker process: map the file anew there.
    def __reduce__(self) -> tuple[type[Self], tuple[Path, NDArray[np.int64]]]:
        return type(self), (self.path, self.offsets)

    def in_one_part(self) -> NDArray[np.bool_]:
        """Which records are in one part, and so contiguous in `words`; shape (n,)."""
        single: NDArray[np.bool_] = self.words[self.offsets // 4 + 1] >> 29 == WHOLE
        return single

    def scan(self) -> NDArray[np.int64]:
        """Where the records start by their own lengths, ignoring any index; shape (n,).

        Raises
        ------
        DataError : damage, with the record and the byte
        """
        return scan(self._view, self.path)

    def _checked(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Offsets from an index, each checked to start a record that ends inside the file."""
        starts = np.asarray(offsets, dtype=np.int64)
        # A record's header is eight bytes, and records start at multiples of four.
        outside = (starts < 0) | (starts + 8 > self.size) | (starts % 4 != 0)
        if outside.any():
            record = int(np.flatnonzero(outside)[0])
            raise DataError(
                f"{self.path}: the index puts record {record} at byte {starts[record]:,}, "
                f"which is not the start of a record in a file of {self.size:,} bytes"
            )
        word = self.words[starts // 4 + 1]
        wrong = (self.words[starts // 4] != MAGIC) | (word >> 29 >= MIDDLE)
        wrong |= starts + 8 + (word & LONGEST) > self.size
        if wrong.any():
            record = int(np.flatnonzero(wrong)[0])
            # Raises the error that names what is wrong.
            parts(self._view, int(starts[record]), self.path, record)
        return starts


def scan(data: memoryview, path: Path) -> NDArray[np.int64]:
    """Where the records start, shape (n,); only the headers are read.

    Raises
    ------
    DataError : damage, with the record and the byte
    """
    starts: list[int] = []
    position, size, unpack = 0, len(data), _HEADER.unpack_from
    while position < size:
        starts.append(position)
        magic, word = unpack(data, position) if position + 8 <= size else (0, 0)
        # Round up to a multiple of four; parts above kind 0 make `word` larger than `LONGEST`.
        end = position + 8 + (word & LONGEST) + 3 & ~3
        if magic == MAGIC and word <= LONGEST and end <= size:
            position = end
        else:
            position = parts(data, position, path, len(starts) - 1)[1]
    return np.array(starts, dtype=np.int64)


def parts(data: memoryview, start: int, path: Path, record: int) -> tuple[list[memoryview], int]:
    """The parts of the record at `start`, and where the next record starts.

    Raises
    ------
    DataError : no magic word, a length past the end, or parts in the wrong order
    """
    pieces: list[memoryview] = []
    position, size = start, len(data)
    while True:
        where = f"{path}, record {record}, byte {position:,}"
        if position + 8 > size:
            raise DataError(f"{where}: the file ends inside the record")
        magic, word = _HEADER.unpack_from(data, position)
        part, length = word >> 29, word & LONGEST
        if magic != MAGIC:
            hint = sniff.hint(data[position : position + sniff.HEAD_BYTES])
            raise DataError(f"{where}: expected the magic word 0x{MAGIC:x}, got 0x{magic:x}{hint}")
        if part not in ((WHOLE, FIRST) if not pieces else (MIDDLE, LAST)):
            raise DataError(
                f"{where}: a part of kind {part} cannot be "
                f"{'the first' if not pieces else 'after another'}"
            )
        end = position + 8 + length
        if end > size:
            raise DataError(
                f"{where}: its length of {length:,} bytes reaches {end - size:,} bytes past the end"
            )
        if len(pieces) == _MOST_PARTS:
            raise DataError(f"{where}: the record has more than {_MOST_PARTS:,} parts")
        pieces.append(data[position + 8 : end])
        position = end + 3 & ~3
        if part in (WHOLE, LAST):
            return pieces, min(position, size)  # the last padding may be missing


def frame(payload: bytes | memoryview) -> bytes:
    """The bytes of one record in the file: headers, parts, padding.

    Raises
    ------
    ValueError : a payload over 2^29 - 1 bytes
    """
    if len(payload) > LONGEST:
        raise ValueError(f"a record may have {LONGEST:,} bytes, this payload has {len(payload):,}")
    data = bytes(payload)
    cuts: list[int] = []
    if WORD in data:
        # The magic word counts only at multiples of four; elsewhere it may stay.
        cuts = (np.flatnonzero(np.frombuffer(data, "<u4", len(data) // 4) == MAGIC) * 4).tolist()
    pieces, start = [], 0
    for cut in cuts:
        pieces += [
            # Each part ends before a magic word, which the reader puts back.
            _HEADER.pack(MAGIC, (MIDDLE if start else FIRST) << 29 | cut - start),
            data[start:cut],
        ]
        start = cut + 4
    last = data[start:]
    pieces += [
        _HEADER.pack(MAGIC, (LAST if start else WHOLE) << 29 | len(last)),
        last,
        b"\0" * (-len(last) % 4),
    ]
    return b"".join(pieces)


class RecordWriter:
    """Write records to an open file; `write` returns where the record starts."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.position = file.tell()

    def write(self, payload: bytes | memoryview) -> int:
        """Append one record; returns its offset in bytes."""
        start, framed = self.position, frame(payload)
        self._file.write(framed)
        self.position += len(framed)
        return start


@reader("a readable index")
def read_index(path: Path | str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys and offsets of an ``.idx`` file of lines ``key<TAB>offset``, each of shape (n,).

    They are in the order of the file.

    Raises
    ------
    DataError : a malformed line, or a repeated key
    """
    data = files.read_bytes(path, "a readable index", at_most=_LARGEST_INDEX)
    lines = data.splitlines()
    fields = [line.split() for line in lines if line.strip()]
    if not fields:
        raise DataError(f"{path} is empty")
    try:
        table = np.array(fields, dtype=np.int64)
    except (ValueError, OverflowError):
        table = np.zeros(0, dtype=np.int64)  # find the line by hand, for the error
    if table.ndim != 2 or table.shape[1] != 2 or table.min() < 0:
        bad = next(
            (
                number
                for number, line in enumerate(lines, 1)
                if line.strip() and not _is_index_line(line)
            ),
            1,
        )
        line = f"{lines[bad - 1][:60]!r}{sniff.hint(data)}"
        raise DataError(f"{path}, line {bad}: expected `key<TAB>offset`, got {line}") from None
    keys, offsets = table.T
    # Keys may be in any order; sorted, equal ones are neighbours.
    ordered = np.sort(keys)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise DataError(f"{path}: key {twice[0]} occurs twice")
    return keys, offsets


def write_index(path: Path, keys: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
    """Write an ``.idx`` file, one ``key<TAB>offset`` per line."""
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(
            f"{key}\t{offset}\n"
            for key, offset in zip(keys.tolist(), offsets.tolist(), strict=True)
        )


def _is_index_line(line: bytes) -> bool:
    fields = line.split()
    return len(fields) == 2 and all(field.isdigit() and len(field) < 19 for field in fields)
