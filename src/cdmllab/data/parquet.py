"""Parquet files of the Hugging Face hub: images (``{bytes, path}``) with labels, or pairs.

Needs pyarrow, from the extra ``formats``. Parquet reads rows in whole groups. The groups used last
are cached, so reading in order is fast; for training in random order, make a pack with
`cdmllab pack`. What a file declares is checked first (`cdmllab.data.parquet_pages`), and its values
are read a few rows at a time, because a few bytes can name a large value in every row. Source:
https://huggingface.co/docs/datasets/main/en/about_dataset_features, the feature ``Image``.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cdmllab._util.files import opened
from cdmllab.data import bins, parquet_pages
from cdmllab.data.decode import Colour
from cdmllab.data.encoded import EncodedSet, numbered
from cdmllab.data.walk import files_in
from cdmllab.errors import DataError, optional, plain, reader

IMAGE, LABEL = ("image", "img", "jpg"), ("label", "identity", "cls", "class", "id")
FIRST, SECOND = ("image1", "img1", "first"), ("image2", "img2", "second")
SAME = ("label", "same", "is_same", "issame")
KEPT_BYTES = 256 << 20  # of stored images
_LARGEST = 1 << 42  # bytes of a file
_LONGEST_NAME, _MOST_COLUMNS = 1 << 20, 1000  # bytes of a text in the metadata; columns
_MOST_ROWS = 4096  # that are read at once


class ParquetSet(EncodedSet):
    """A ``.parquet`` file, or a folder of them, as a training set.

    Raises
    ------
    DataError : no files, or missing columns; the file is named
    MissingPackageError : pyarrow is not installed
    """

    @reader("a readable Parquet data set")
    def __init__(self, path: Path | str, *, colour: Colour = "RGB", fast: bool = False) -> None:
        path = Path(path)
        self._files = [_File(file) for file in files(path)]
        names = self._files[0].names
        self._column, label = _named(names, IMAGE, path), _named(names, LABEL, path)
        # Read the labels of all groups now, and remember at which row each group starts.
        self._groups: list[tuple[int, int, int]] = []  # file, group, its first row
        labels: list[Any] = []
        for number, file in enumerate(self._files):
            file.check(label, images=False)
            file.check(self._column, images=True)
            for group in range(file.groups):
                self._groups.append((number, group, len(labels)))
                labels += file.values(group, label)
        self._starts = np.array([start for _, _, start in self._groups])
        self._kept: OrderedDict[int, list[bytes]] = OrderedDict()
        self._lock = threading.Lock()
        known = numbered(labels) if labels and isinstance(labels[0], str) else np.array(labels)
        super().__init__(path, known, colour=colour, fast=fast)

    def image(self, row: int) -> bytes:
        """The encoded image of a row."""
        # The last group that starts at or before it.
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        with self._lock:
            if group not in self._kept:
                number, within, _ = self._groups[group]
                values = self._files[number].values(within, self._column)
                self._kept[group] = [_bytes(value, self.where(row)) for value in values]
                # Drop the groups unused for longest; one always stays, however large.
                while (
                    len(self._kept) > 1
                    and sum(sum(map(len, kept)) for kept in self._kept.values()) > KEPT_BYTES
                ):
                    self._kept.popitem(last=False)
            self._kept.move_to_end(group)  # most recently used last
            return self._kept[group][row - self._groups[group][2]]


@reader("a readable table of pairs")
def pairs(path: Path | str) -> bins.Bin:
    """A table of pairs as a bin: two columns of images, and one for whether they are one person.

    Raises
    ------
    DataError : columns are missing; the file is named
    MissingPackageError : pyarrow is not installed
    """
    path = Path(path)
    images: list[Any] = []
    same: list[bool] = []
    for file in files(path):
        stored = _File(file)
        columns = [_named(stored.names, known, path) for known in (FIRST, SECOND, SAME)]
        for column in columns:
            stored.check(column, images=column != columns[-1])
        for group in range(stored.groups):
            for one, other, label in zip(
                *(stored.values(group, column) for column in columns), strict=True
            ):
                images += [_bytes(one, str(file)), _bytes(other, str(file))]
                if label not in (0, 1):
                    raise DataError(
                        f"{file}, row {len(same)}: {columns[-1]} must be true or false, or 1 or 0, "
                        f"got {plain(label, 40)}"
                    )
                same.append(bool(label))
    return bins.Bin(images, np.array(same, dtype=bool), path)


def files(path: Path) -> list[Path]:
    """The ``.parquet`` files below a folder, in natural order, or a single file.

    Raises
    ------
    DataError : there are none
    """
    if path.is_file():
        return [path]
    parquet_files = files_in(path, "**/*.parquet")
    if not parquet_files:
        raise DataError(f"{path} contains no .parquet files")
    return parquet_files


class _File:
    """A file whose declared sizes are checked before values are read."""

    def __init__(self, path: Path) -> None:
        with optional("formats", "a Parquet file"):
            from pyarrow import parquet
        with opened(path, at_most=_LARGEST) as stream:  # pyarrow would wait for a pipe's writer
            size = stream.seek(0, 2)
        self._path = path
        self._file = parquet.ParquetFile(
            path,
            thrift_string_size_limit=_LONGEST_NAME,
            pre_buffer=False,  # it would keep the bytes of the whole group as well
        )
        self._schema, self._metadata = self._file.schema_arrow, self._file.metadata
        self.names: list[str] = self._schema.names
        if self._metadata.num_columns > _MOST_COLUMNS:
            raise DataError(
                f"{path} has {self._metadata.num_columns:,} columns; {_MOST_COLUMNS:,} are allowed"
            )
        parquet_pages.refuse_many_rows(self._metadata, size, str(path))
        self.groups: int = self._metadata.num_row_groups

    def check(self, column: str, *, images: bool) -> None:
        """Refuse columns of other types, before any of their values are read."""
        from pyarrow import types

        if self.names.count(column) != 1:
            raise DataError(f"{self._path} has {self.names.count(column)} columns named {column}")
        kind = self._schema.field(column).type
        if images and types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        if types.is_dictionary(kind):
            kind = kind.value_type
        fitting = (
            (types.is_binary, types.is_large_binary)
            if images
            else (
                types.is_integer,
                types.is_floating,
                types.is_boolean,
                types.is_string,
                types.is_large_string,
            )
        )
        if not any(is_kind(kind) for is_kind in fitting):
            expected = (
                "an image is stored as bytes, or as a struct with bytes"
                if images
                else "a label is a whole number or text"
            )
            raise DataError(
                f"{self._path}: the column {column} has the type {plain(kind, 60)}, but {expected}"
            )

    def values(self, group: int, column: str) -> list[Any]:
        """The values of a column in a row group."""
        where = f"{self._path}, row group {group}"
        with opened(self._path, at_most=_LARGEST) as stream:
            size = parquet_pages.sizes(stream, self._metadata.row_group(group), column, where)
        # No value is larger than its page, so that no batch is larger than `ROOM`, or one page.
        rows = min(_MOST_ROWS, max(1, parquet_pages.ROOM // max(size.largest_page, 1)))
        values: list[Any] = []
        total = 0
        for value in self._read(group, column, rows):
            data = value.get("bytes") if isinstance(value, dict) else value
            total += len(data) if isinstance(data, bytes | str) else 0
            parquet_pages.refuse_bomb(total, size.packed, where, column)
            values.append(value)
        if len(values) != self._metadata.row_group(group).num_rows:
            raise DataError(f"{where}: the column {column} has only {len(values):,} values")
        return values

    def _read(self, group: int, column: str, rows: int) -> Iterator[Any]:
        for batch in self._file.iter_batches(
            batch_size=rows, row_groups=[group], columns=[column], use_threads=False
        ):
            yield from batch.column(column).to_pylist()


def _named(names: list[str], known: tuple[str, ...], path: Path) -> str:
    for name in known:
        if name in names:
            return name
    raise DataError(f"{path} has no column {' or '.join(known)}; it has: {', '.join(names)}")


def _bytes(value: Any, where: str) -> bytes:
    # The hub's feature `Image` is a struct of bytes and path.
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise DataError(
            f"{where}: an image is stored as bytes, or as a struct with bytes, and this is neither"
        )
    return data
