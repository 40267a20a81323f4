"""The sizes that a Parquet file declares, checked before pyarrow allocates memory for them.

A column chunk is a sequence of pages, each behind a header in Thrift's compact protocol. pyarrow
allocates what a page's header declares, and a few kilobytes of compressed zeros are gigabytes.
Source: the format's ``parquet.thrift`` (``PageHeader``), and Thrift's compact protocol, at
https://github.com/apache/parquet-format and https://github.com/apache/thrift/blob/master/doc/specs.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from cdmllab.errors import DataError

ROOM = 256 << 20  # bytes that the values of a row group may have at any compression ratio
RATIO = 10  # above that, the largest ratio that is believed: images hardly compress
_FEW, _BYTES_EACH = 100_000, 100  # rows that any file may have; bytes per row of larger ones
_HEADER_BYTES, _LONGEST_HEADER = 1 << 12, 1 << 20  # read at first, and at most
# Types of the compact protocol.
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_VARINTS = (4, 5, 6)
_UNPACKED, _PACKED = 2, 3  # fields of a page's header: its size when unpacked, and in the file


class Sizes(NamedTuple):
    """The sizes of a column in a row group, in bytes."""

    packed: int  # in the file
    largest_page: int  # when unpacked


def refuse_many_rows(metadata: Any, size: int, where: str) -> None:
    """Refuse more rows than a file of `size` bytes can have, and row groups that do not add up.

    Raises
    ------
    DataError : naming the file
    """
    most, rows = max(_FEW, size // _BYTES_EACH), metadata.num_rows
    groups = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    if rows > most:
        raise DataError(
            f"{where} announces {rows:,} rows; a file of {size:,} bytes may have {most:,}"
        )
    if sum(groups) != rows or min(groups, default=0) < 0:
        raise DataError(f"{where} announces {rows:,} rows, but its row groups have {sum(groups):,}")


def sizes(stream: BinaryIO, group: Any, column: str, where: str) -> Sizes:
    """The sizes of all values of a column in a row group, by the headers of its pages.

    Parameters
    ----------
    stream : the file
    group : the metadata of the row group
    column : its path in the schema; what is below it counts as well
    where : file and row group, named in errors

    Raises
    ------
    DataError : they are implausible, or a value is in a list
    """
    packed = unpacked = largest = 0
    for number in range(group.num_columns):
        chunk = group.column(number)
        if chunk.path_in_schema != column and not chunk.path_in_schema.startswith(f"{column}."):
            continue
        if chunk.num_values != group.num_rows:
            raise DataError(
                f"{where}: the column {column} has {chunk.num_values:,} values in "
                f"{group.num_rows:,} rows"
            )
        for in_file, in_memory in _pages(stream, chunk, where):
            packed, unpacked = packed + in_file, unpacked + in_memory
            largest = max(largest, in_memory)
    refuse_bomb(unpacked, packed, where, column)
    return Sizes(packed, largest)


def refuse_bomb(unpacked: int, packed: int, where: str, column: str) -> None:
    """Refuse values that are implausibly large for the bytes they have in the file.

    Raises
    ------
    DataError : naming the column
    """
    if unpacked > max(ROOM, RATIO * packed):
        raise DataError(
            f"{where}: the {packed:,} bytes of the column {column} unpack to over {unpacked:,}, "
            f"which is implausible"
        )


def _pages(stream: BinaryIO, chunk: Any, where: str) -> Iterator[tuple[int, int]]:
    """The size of each page in the file, and unpacked."""
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < at:
        at = chunk.dictionary_page_offset
    end = at + chunk.total_compressed_size
    if not 0 <= at <= end <= stream.seek(0, 2):
        raise DataError(f"{where}: a column lies outside of the file")
    while at < end:
        fields, length = _header(stream, at, where)
        in_file, in_memory = fields.get(_PACKED, -1), fields.get(_UNPACKED, -1)
        if in_file < 0 or in_memory < 0:
            raise DataError(f"{where}: the page at byte {at:,} does not declare its size")
        yield in_file, in_memory
        at += length + in_file


def _header(stream: BinaryIO, at: int, where: str) -> tuple[dict[int, int], int]:
    """The whole numbers in the header of a page by their field, and its length in bytes."""
    count = _HEADER_BYTES
    while True:
        stream.seek(at)
        data = stream.read(count)
        try:
            reader = _Compact(data)
            return reader.struct(), reader.at
        except IndexError:  # it is longer than what was read
            if len(data) < count or count >= _LONGEST_HEADER:
                raise DataError(
                    f"{where}: the header of the page at byte {at:,} has no end"
                ) from None
            count *= 16


class _Compact:
    """Thrift's compact protocol, as far as it is needed to skip values."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def struct(self) -> dict[int, int]:
        """The whole numbers of a struct by their field; all other fields are skipped."""
        numbers: dict[int, int] = {}
        field = 0
        while head := self._byte():
            # The upper half is the difference to the field before; 0: its number follows.
            field = field + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            if kind in _VARINTS:
                numbers[field] = self._signed()
            elif kind not in (_TRUE, _FALSE):  # a boolean is in its type
                self._skip(kind)
        return numbers

    def _skip(self, kind: int) -> None:
        if kind in (_TRUE, _FALSE, _BYTE):  # a byte each in a list
            self._byte()
        elif kind in _VARINTS:
            self._varint()
        elif kind == _DOUBLE:
            self._bytes(8)
        elif kind == _BINARY:
            self._bytes(self._varint())
        elif kind in (_LIST, _SET):
            head = self._byte()
            for _ in range(head >> 4 if head >> 4 < 15 else self._varint()):
                self._skip(head & 15)
        elif kind == _MAP:
            if count := self._varint():
                kinds = self._byte()
                for _ in range(count):
                    self._skip(kinds >> 4)
                    self._skip(kinds & 15)
        elif kind == _STRUCT:
            self.struct()
        else:
            raise ValueError(f"there is no type {kind} in Thrift")

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _bytes(self, count: int) -> None:
        self.at += count
        self._data[self.at - 1 if count else 0]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a number has more than 64 bits")

    def _signed(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)
