"""Parquet files of the Hugging Face hub: images (``{bytes, path}``) with labels, or pairs.

Needs pyarrow, from the extra ``formats``. Parquet reads rows in whole groups. The groups used last
are cached, so reading in order is fast; for training in random order, make a pack with
`cdmllab pack`. Source:
https://huggingface.co/docs/datasets/main/en/about_dataset_features, the feature ``Image``.
"""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from cdmllab.data import bins
from cdmllab.data.decode import Colour
from cdmllab.data.encoded import EncodedSet, numbered
from cdmllab.data.walk import files_in
from cdmllab.errors import DataError, optional, reader

IMAGE, LABEL = ("image", "img", "jpg"), ("label", "identity", "cls", "class", "id")
FIRST, SECOND = ("image1", "img1", "first"), ("image2", "img2", "second")
SAME = ("label", "same", "is_same", "issame")
KEPT_BYTES = 256 << 20  # of stored images


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
        parquet = _library()
        self._files = [parquet.ParquetFile(file) for file in files(path)]
        names = self._files[0].schema_arrow.names
        self._column, label = _named(names, IMAGE, path), _named(names, LABEL, path)
        # Read the labels of all groups now, and remember at which row each group starts.
        self._groups: list[tuple[int, int, int]] = []  # file, group, its first row
        labels: list[Any] = []
        for number, file in enumerate(self._files):
            for group in range(file.num_row_groups):
                self._groups.append((number, group, len(labels)))
                labels += file.read_row_group(group, columns=[label])[label].to_pylist()
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
                table = self._files[number].read_row_group(within, columns=[self._column])
                self._kept[group] = [
                    _bytes(value, self.where(row)) for value in table[self._column].to_pylist()
                ]
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
        table = _library().read_table(file)
        columns = [_named(table.column_names, known, path) for known in (FIRST, SECOND, SAME)]
        for one, other, label in zip(
            *(table[column].to_pylist() for column in columns), strict=True
        ):
            images += [_bytes(one, str(file)), _bytes(other, str(file))]
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


def _library() -> Any:
    with optional("formats", "a Parquet file"):
        from pyarrow import parquet
    return parquet


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
