"""Read a protocol from a file of arrays, or from a verification bin."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cdmllab.data import bins, npz, protocol_checks, verification
from cdmllab.data.pairs import Pairs
from cdmllab.errors import DataError, reading
from cdmllab.evaluate.protocol import Protocol


def read(path: Path) -> Protocol:
    """Read a protocol from the arrays of an ``.npz`` file.

    The arrays are ``images``, ``first``, ``second`` and ``same``, and optionally ``fold`` and
    ``identity``; or those of a bin that `cdmllab unpickle` converted. ``images`` is uint8 of shape
    (n, height, width, 1 or 3), the others are as in `Protocol`. Without ``fold`` all pairs are in
    one fold, and accuracy over folds is not measured.

    Raises
    ------
    DataError : the file is missing, is not an ``.npz`` or lacks an array; or as `Protocol`
    """
    with npz.opened(path) as stored:
        # A converted bin has arrays of its own, such as the encoded images: see `bins`.
        is_bin = set(stored.files) >= set(bins.KEYS)
        arrays = {} if is_bin else protocol_checks.checked(stored, path)
    if is_bin:
        return bin_file(path)
    images, same = arrays["images"], arrays["same"]
    fold = arrays.get("fold", np.zeros(len(same), dtype=np.int64))
    with reading(path, "a protocol"):
        # `Protocol` raises a plain ValueError; add the file's name to it.
        try:
            drawn = Pairs(arrays["first"], arrays["second"], same.astype(bool), fold)
            return Protocol(str(path), InMemory(images), drawn, arrays.get("identity"))
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error


def bin_file(path: Path) -> Protocol:
    """Read a verification bin, with its images unchanged.

    Raises
    ------
    DataError : the file is missing or damaged
    """
    stored = bins.read(path)
    images = stored.decoded("RGB")
    return Protocol(
        str(path), InMemory(images), stored.pairs(), copy=verification.copy_of(stored, images)
    )


class InMemory:
    """An array of images, as `Images`."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.content = (images,)

    def __len__(self) -> int:
        return len(self.content[0])

    def read(self, rows: object) -> NDArray[np.uint8]:
        chosen: NDArray[np.uint8] = self.content[0][np.asarray(rows)]
        return chosen
