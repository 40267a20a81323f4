"""Scores of pairs: cosines in bounded memory, and conversion between the field's four scales.

A score is higher the more alike two images are, and a distance is lower. Papers use both.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Scale = Literal["cosine", "cosine_distance", "squared_l2", "angle_rad"]

_BLOCK_BYTES = 32 * 2**20  # of a block of cosines in memory
_ROWS = 64  # pairs gathered at a time: both sides fit into a core's cache
_GRAM_FROM = 1 / 50  # gathering a pair costs about as much as 50 cells of a matrix product


def unit(embeddings: ArrayLike, noun: str = "image") -> Floats:
    """Scale embeddings of shape (n, d) to length 1.

    Raises
    ------
    ValueError : another shape, or an embedding that is zero or not finite; names its row, which
        the message calls `noun`
    """
    e = _table(embeddings).astype(np.float64)
    squared = np.einsum("nd,nd->n", e, e)
    refuse_unusable(squared, np.arange(len(e)), noun)
    e /= np.sqrt(squared)[:, None]
    return e


def cosines(
    embeddings: ArrayLike, first: ArrayLike, second: ArrayLike, *, noun: str = "image"
) -> Floats:
    """Cosine of each pair of rows: embeddings (n, d), `first` and `second` (p,), to (p,).

    No array of shape (p, d) is ever created. If the pairs fill a good part of the matrix of all
    their rows, as IJB's do, that matrix is computed in blocks and the pairs are read from them;
    otherwise pairs are gathered in batches that fit into a core's cache. Products and sums are in
    float64, whatever the type of the embeddings.

    Raises
    ------
    ValueError : as `unit`, for the rows that are compared; no pairs; a pair with a row that does
        not exist
    """
    e = _table(embeddings)
    a, b = _rows(first, second, len(e), noun)
    rows, columns = _used(a, len(e)), _used(b, len(e))
    if len(a) < _GRAM_FROM * len(rows) * len(columns):
        return _gathered(e, a, b, noun)
    return _tabulated(unit(e, noun), a, b, rows, columns)


def _gathered(e: NDArray[np.generic], a: Ints, b: Ints, noun: str) -> Floats:
    out = np.empty(len(a))
    for start in range(0, len(a), _ROWS):
        part = slice(start, start + _ROWS)
        x, y = e[a[part]].astype(np.float64), e[b[part]].astype(np.float64)  # [64, d] at most
        xx, yy = np.einsum("pd,pd->p", x, x), np.einsum("pd,pd->p", y, y)
        for rows, squared in ((a[part], xx), (b[part], yy)):
            refuse_unusable(squared, rows, noun)
        out[part] = np.einsum("pd,pd->p", x, y) / np.sqrt(xx * yy)
    return out


def _tabulated(e: Floats, a: Ints, b: Ints, rows: Ints, columns: Ints) -> Floats:
    out = np.empty(len(a))
    # Where each compared row and column is in the compact matrix, without rows that no pair uses.
    row_of, column_of = np.zeros(len(e), np.int32), np.zeros(len(e), np.int32)
    row_of[rows], column_of[columns] = np.arange(len(rows)), np.arange(len(columns))
    height = max(1, _BLOCK_BYTES // (8 * len(columns)))  # rows in a block
    small = np.min_scalar_type(len(rows) // height)  # numpy sorts 16-bit integers by radix sort
    block_of = (row_of // height).astype(small)[a]
    # Pairs may already be listed block by block; otherwise sort them by block.
    order = None if (block_of[1:] >= block_of[:-1]).all() else np.argsort(block_of, kind="stable")
    ends = np.cumsum(np.bincount(block_of))  # end of each block's pairs
    right = e[columns].T
    for block, stop in enumerate(ends):
        start = int(ends[block - 1]) if block else 0
        pairs = slice(start, stop) if order is None else order[start:stop]
        top = block * height
        table = e[rows[top : top + height]] @ right
        # Read the pairs of this block from the matrix,
        # back into the order in which they were listed.
        out[pairs] = table[row_of[a[pairs]] - top, column_of[b[pairs]]]
    return out


def convert(values: ArrayLike, given: Scale, target: Scale) -> Floats:
    """Convert scores or thresholds from one scale to another.

    The scales are ``"cosine"`` c; ``"cosine_distance"`` 1 - c; ``"squared_l2"`` of unit vectors,
    2 - 2c; and ``"angle_rad"``, arccos c. On the last three, lower means more alike.

    Raises
    ------
    ValueError : an unknown scale, or a value that is impossible for two unit vectors

    Examples
    --------
    A threshold of 1.24 on the squared distance, as a cosine:

    >>> print(f"{convert(1.24, 'squared_l2', 'cosine'):.2f}")
    0.38
    """
    for scale in (given, target):
        if scale not in get_args(Scale):
            raise ValueError(f"unknown scale {scale!r}; choose one of {', '.join(get_args(Scale))}")
    x = np.asarray(values, dtype=np.float64)
    ends = {
        "cosine": (-1.0, 1.0),
        "cosine_distance": (0.0, 2.0),
        "squared_l2": (0.0, 4.0),
        "angle_rad": (0.0, np.pi),
    }
    # Tolerate rounding of float32 scores, but not a value on another scale.
    low, high = ends[given]
    wrong = x[~((x >= low - 1e-6) & (x <= high + 1e-6))]
    if wrong.size:
        raise ValueError(f"{given} must lie in [{low:g}, {high:.4g}], got {wrong.flat[0]:g}")
    # All conversions go through the cosine.
    c = {
        "cosine": x,
        "cosine_distance": 1.0 - x,
        "squared_l2": 1.0 - x / 2.0,
        "angle_rad": np.cos(x),
    }[given]
    converted: dict[Scale, Floats] = {
        "cosine": c,
        "cosine_distance": 1.0 - c,
        "squared_l2": 2.0 - 2.0 * c,
        "angle_rad": np.arccos(np.clip(c, -1.0, 1.0)),
    }
    low, high = ends[target]
    return np.clip(converted[target], low, high)  # rounding may leave the range


def _table(embeddings: ArrayLike) -> NDArray[np.generic]:
    e = np.asarray(embeddings)
    if e.ndim != 2:
        raise ValueError(f"embeddings must have shape (n, d), got {e.shape}")
    return e


def refuse_unusable(squared: Floats, rows: Ints, noun: str) -> None:
    """Refuse embeddings without a direction.

    Parameters
    ----------
    squared : squared lengths of embeddings, shape (n,)
    rows : their rows, shape (n,)
    noun : what the error calls a row

    Raises
    ------
    ValueError : naming the first embedding that is zero or not finite
    """
    usable = np.isfinite(squared) & (squared > 0.0)
    if usable.all():
        return
    bad = np.unique(rows[~usable])
    others = len(bad) - 1
    also = f", and so {'is 1 other' if others == 1 else f'are {others} others'}" if others else ""
    raise ValueError(f"the embedding of {noun} {bad[0]} is zero or not finite{also}")


def _rows(first: ArrayLike, second: ArrayLike, n: int, noun: str) -> tuple[Ints, Ints]:
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"first and second must both have shape (p,), got {a.shape} and {b.shape}")
    if len(a) == 0:
        raise ValueError("no pairs")
    low, high = int(min(a.min(), b.min())), int(max(a.max(), b.max()))
    if low < 0 or high >= n:
        row = low if low < 0 else high
        raise ValueError(f"the pairs name {noun} {row}, but there are only {n} embeddings")
    return a, b


def _used(rows: Ints, n: int) -> Ints:
    used = np.zeros(n, dtype=bool)
    used[rows] = True
    return np.flatnonzero(used)
