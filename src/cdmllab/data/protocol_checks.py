"""Describe and check a protocol of plain arrays, and the folds of any verification pairs.

The arrays are ``images``, ``first``, ``second``, ``same`` and optionally ``fold`` and ``identity``.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdmllab.data import npz, pairs
from cdmllab.data.decode import SMALLEST_SIDE_PX
from cdmllab.errors import DataError

REQUIRED, OPTIONAL = ("images", "first", "second", "same"), ("fold", "identity")
Ints = NDArray[np.int64]
_FEW_PAIRS = 1_000_000  # that any file may have; a larger one has a byte for each


def is_protocol(path: Path) -> bool:
    """Whether an ``.npz`` file has the arrays of a protocol; a damaged one has none."""
    try:
        with npz.opened(path) as arrays:
            return set(REQUIRED) <= set(arrays.files)
    except DataError:
        return False


def checked(stored: npz.Arrays, path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a protocol: ``images`` of uint8, the others whole numbers or bool, shape (n,).

    Raises
    ------
    DataError : an array is missing or has another form
    """
    keys = (key for key in (*REQUIRED, *OPTIONAL) if key in REQUIRED or key in stored.files)
    arrays = {key: stored[key] for key in keys}
    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise DataError(
            f"{path}: images must be uint8 of shape (n, height, width, 1 or 3), got "
            f"{images.dtype} {images.shape}"
        )
    most = max(_FEW_PAIRS, path.stat().st_size)
    if len(arrays["same"]) > most:
        raise DataError(
            f"{path} has {len(arrays['same']):,} pairs; a file of its size may have {most:,}"
        )
    if min(images.shape[1:3]) < SMALLEST_SIDE_PX or len(images) == 0:
        raise DataError(
            f"{path}: its {len(images):,} images of {images.shape[2]:,} x {images.shape[1]:,} "
            f"pixels are too few or too small"
        )
    for key, values in arrays.items():
        if key != "images" and (values.ndim != 1 or values.dtype.kind not in "biu"):
            raise DataError(
                f"{path}: {key} must be integers of shape (n,), got {values.dtype} {values.shape}"
            )
    return arrays


def inspect(path: Path) -> tuple[dict[str, str], list[str]]:
    """Describe a protocol and list its problems.

    Raises
    ------
    DataError : an array is missing or has another form
    """
    with npz.opened(path) as stored:
        arrays = checked(stored, path)
    images = arrays.pop("images")
    # Flags may be bool and rows of any integer type; from here on they are alike.
    columns = {key: values.astype(np.int64) for key, values in arrays.items()}
    first, second, same = (columns[key] for key in REQUIRED[1:])
    fold, identity = (columns.get(key) for key in OPTIONAL)
    count = len(same)
    if not len(first) == len(second) == count or (fold is not None and len(fold) != count):
        raise DataError(f"{path}: first, second, same and fold must have one length")
    n, height, width, channels = images.shape
    genuine = int((same != 0).sum())
    facts = {
        "images": f"{n:,} of {width} x {height}, {'grey' if channels == 1 else 'colour'}",
        "pairs": f"{count:,} ({genuine:,} genuine, {count - genuine:,} impostor)",
        "folds": "none" if fold is None else sizes(fold),
        "people": "not known" if identity is None else f"{len(np.unique(identity)):,}",
    }
    return facts, _problems(n, first, second, same != 0, fold, identity)


def sizes(fold: Ints) -> str:
    """The number of folds and the pairs in each, as ``10 of 600 pairs``.

    Folds may be of different sizes: an accuracy is the mean over folds, whatever their sizes.
    """
    counts = np.unique(fold, return_counts=True)[1]
    if not len(counts):
        return "0"
    least, most = int(counts.min()), int(counts.max())
    spread = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    return f"{len(counts):,} of {spread} pairs"


def in_a_row(same: NDArray[np.bool_], folds: int) -> tuple[str, list[str]]:
    """Describe folds that follow one another in a list of pairs, and list their problems.

    Where all folds have the same size, each must have as many genuine as impostor pairs, as in the
    published bins. Of other folds only those of a single kind are a problem.
    """
    try:
        fold = pairs.in_folds(len(same), folds)
    except ValueError as error:
        return "none", [str(error)]
    count, genuine = np.bincount(fold), np.bincount(fold, weights=same).astype(np.int64)
    uneven = bool((count != count[0]).any())
    wrong = (genuine == 0) | (genuine == count) if uneven else 2 * genuine != count
    if not wrong.any():
        return sizes(fold), []
    listed = ", ".join(str(number) for number in genuine)
    return sizes(fold), [
        f"the numbers of genuine and impostor pairs differ within a fold (genuine: {listed})"
    ]


def _problems(
    n: int,
    first: Ints,
    second: Ints,
    same: NDArray[np.bool_],
    fold: Ints | None,
    identity: Ints | None,
) -> list[str]:
    problems = []
    if same.all() or not same.any():
        problems.append("the pairs are all of one kind")
    outside = np.flatnonzero((np.minimum(first, second) < 0) | (np.maximum(first, second) >= n))
    if len(outside):  # later checks would index with it
        return [*problems, f"pair {outside[0]} names an image that is not there"]
    if len(own := np.flatnonzero(first == second)):
        problems.append(f"{len(own):,} pairs compare an image with itself, the first is {own[0]}")
    # One number for each pair, the same in either order.
    both = np.minimum(first, second) * n + np.maximum(first, second)
    if again := len(both) - len(np.unique(both)):
        problems.append(f"{again:,} pairs occur more than once")
    if identity is None:
        return problems
    if len(identity) != n:
        return [*problems, f"identity has {len(identity):,} entries for {n:,} images"]
    # Genuine pairs must have equal identities, impostor pairs different ones.
    if len(wrong := np.flatnonzero((identity[first] == identity[second]) != same)):
        problems.append(
            f"{len(wrong):,} pairs contradict the identities of their images, the first is "
            f"{wrong[0]}"
        )
    if fold is not None:
        # Each person with each of their folds, once; more of
        # these than people means that somebody is in two.
        who = np.concatenate([identity[first], identity[second]])
        seen = np.unique(np.stack([who, np.concatenate([fold, fold])]), axis=1)
        if shared := seen.shape[1] - len(np.unique(seen[0])):
            problems.append(
                f"folds share people ({shared:,} more memberships than people): an accuracy over "
                "folds is judged on people whose threshold was chosen on themselves"
            )
    return problems
