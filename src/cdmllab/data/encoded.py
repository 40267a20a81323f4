"""Training sets of encoded images, in any container, that are decoded when they are read."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.data.decode import Colour, decode, other_size, refuse_bomb
from cdmllab.data.sets import checked
from cdmllab.errors import DataError, reading

Stored = bytes | memoryview


def read_rows(
    rows: ArrayLike,
    image: Callable[[int], Stored],
    where: Callable[[int], str],
    path: Path,
    colour: Colour,
    fast: bool,
) -> NDArray[np.uint8]:
    """Decode the images of some rows: uint8 of shape (rows, height, width, 1 or 3).

    Parameters
    ----------
    image : from a row to its bytes, as JPEG or in another format
    where : from a row to how it is named in an error

    Raises
    ------
    DataError : an image cannot be decoded, or differs in size from the first
    """
    chosen = np.atleast_1d(np.asarray(rows, dtype=np.int64)).tolist()
    images: NDArray[np.uint8] | None = None
    for k, row in enumerate(chosen):
        pixels = decode(image(row), where(row), colour=colour, fast=fast, upright=False)
        # The first image sets the shape; refuse stored bytes that cannot be so many pixels.
        if images is None:
            refuse_bomb(str(path), len(chosen) * pixels.size, partial(_stored, chosen, image))
            images = np.empty((len(chosen), *pixels.shape), dtype=np.uint8)
        if pixels.shape != images.shape[1:]:
            raise other_size(where(row), pixels.shape[:2], images.shape[1:3])
        images[k] = pixels
    return np.empty((0, 0, 0, 3), dtype=np.uint8) if images is None else images


def _stored(rows: list[int], image: Callable[[int], Stored]) -> int:
    """The stored bytes of the images of some rows."""
    return sum(len(image(row)) for row in set(rows))


class EncodedSet:
    """A training set of encoded images; a subclass returns the bytes of a row.

    Parameters
    ----------
    path : of the folder or file
    labels : of each row, whole numbers from 0
    colour, fast : as of `cdmllab.data.packs.Pack`
    """

    def __init__(
        self, path: Path, labels: ArrayLike, *, colour: Colour = "RGB", fast: bool = False
    ) -> None:
        self.path = path
        self.labels = checked(labels, None, str(path))
        if len(self.labels) == 0:
            raise DataError(f"{path} contains no images with labels")
        self.num_identities = int(self.labels.max()) + 1  # labels start at 0
        self.colour: Colour = colour
        self._fast = fast

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.path}: {len(self):,} images of {self.num_identities:,} "
            f"identities)"
        )

    def image(self, row: int) -> Stored:
        """The encoded image of a row."""
        raise NotImplementedError

    def where(self, row: int) -> str:
        """How a row is named in an error."""
        return f"{self.path}, row {row}"

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """Decode the images of some rows, see `read_rows`."""
        with reading(self.path, "a data set whose images can be read"):
            return read_rows(rows, self.image, self.where, self.path, self.colour, self._fast)


def numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """Labels from 0 for people that are given by name, in the order of their first images."""
    number: dict[str, int] = {}
    # `setdefault` gives a new name the next number.
    return np.array([number.setdefault(name, len(number)) for name in names], dtype=np.int64)
