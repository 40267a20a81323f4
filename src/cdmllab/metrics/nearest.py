"""The k gallery entries that are nearest to each probe, exactly and in bounded memory."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics.scoring import refuse_unusable

_ROWS, _PROBES = 8192, 1024  # of the gallery and of the probes in a block: 32 MiB of cosines
_CHUNK = 64  # consecutive gallery entries of which only the largest cosine is looked at first


class TopK(NamedTuple):
    """The k nearest gallery entries of p probes, the nearest first."""

    row: NDArray[np.int64]  # [p, k] of the gallery
    cosine: NDArray[np.float32]  # [p, k]


def nearest(gallery: ArrayLike, probes: ArrayLike, k: int = 10) -> TopK:
    """Search a gallery exhaustively for the entries with the highest cosines.

    The gallery is read once, from start to end, in blocks of 8,192 entries, so it may be a
    memory-mapped file that is larger than the memory. No more than 32 MiB of cosines exist at a
    time. Products are in float32, and NumPy's BLAS uses as many threads as it is allowed to.
    Entries with the same cosine are ordered by their row.

    Parameters
    ----------
    gallery : shape (g, d), embeddings of any length and any floating dtype
    probes : shape (p, d)
    k : from 1 to g

    Raises
    ------
    ValueError : shapes that do not match, an impossible k, or an embedding that is zero or not
        finite, which is named

    Examples
    --------
    >>> found = nearest([[1, 0], [0, 1], [1, 1]], [[2, 0.1]], k=2)
    >>> found.row.tolist()
    [[0, 2]]
    """
    g, q = np.asarray(gallery), np.asarray(probes)
    if g.ndim != 2 or q.ndim != 2 or g.shape[1] != q.shape[1]:
        raise ValueError(
            f"the shapes must be gallery (g, d) and probes (p, d), got {g.shape} and {q.shape}"
        )
    if not 1 <= k <= len(g):
        raise ValueError(f"k must lie between 1 and the gallery's {len(g):,} entries, got {k}")
    q = _unit32(q, 0, "probe")
    # Placeholders: row g does not exist, and any cosine is higher than minus infinity.
    best = TopK(
        np.full((len(q), k), len(g), dtype=np.int64), np.full((len(q), k), -np.inf, np.float32)
    )
    for first in range(0, len(g), _ROWS):
        # Only this block of the gallery is converted,
        # so a memory-mapped file is never read in full.
        block = _unit32(g[first : first + _ROWS], first, "gallery entry")
        for start in range(0, len(q), _PROBES):
            part = slice(start, start + _PROBES)
            _update(best, part, block @ q[part].T, first)
    return best


def _unit32(embeddings: NDArray[np.generic], first: int, noun: str) -> NDArray[np.float32]:
    """Embeddings at length 1 in float32; `first` is the number of the first row for errors."""
    e = embeddings.astype(np.float32)
    # Squares are summed in float64: those of float32 overflow from a length of 1.8e19 on.
    squared = np.einsum("nd,nd->n", e, e, dtype=np.float64)
    refuse_unusable(squared, np.arange(first, first + len(e)), noun)
    e /= np.sqrt(squared)[:, None]
    return e


def _update(best: TopK, part: slice, table: NDArray[np.float32], first: int) -> None:
    """Merge a block of cosines, shape (rows, probes), into the k best of these probes.

    Of every 64 rows only the maximum is compared with what a probe already has. Nearly all are too
    low, so that a block costs little more than its product.
    """
    k = best.row.shape[1]
    # Maxima of complete chunks; an incomplete one at the end is appended.
    even = len(table) // _CHUNK * _CHUNK
    highest = table[:even].reshape(-1, _CHUNK, table.shape[1]).max(axis=1)  # [chunks, probes]
    if even < len(table):
        highest = np.vstack([highest, table[even:].max(axis=0)])
    threshold = best.cosine[part, -1]  # [probes], the k-th best so far
    if len(highest) > k:
        # At least k rows of the block reach the k-th highest maximum, so lower ones are out.
        threshold = np.maximum(threshold, np.partition(highest, -k, axis=0)[-k])
    # Look inside only those chunks whose maximum could enter a probe's k best.
    chunk, probe = np.nonzero(highest >= threshold)
    if not len(chunk):
        return
    rows = chunk[:, None] * _CHUNK + np.arange(_CHUNK)
    probes = np.broadcast_to(probe[:, None], rows.shape)
    inside = rows < len(table)  # of an incomplete last chunk
    rows, probes = rows[inside], probes[inside]
    cosines = table[rows, probes]
    good = cosines >= threshold[probes]
    rows, probes, cosines = rows[good], probes[good], cosines[good]

    # The candidates of these probes, old and new, in the order probe, cosine, row.
    touched = np.unique(probes)
    old = np.repeat(touched, k)
    row = np.concatenate([best.row[part][touched].ravel(), rows + first])
    cosine = np.concatenate([best.cosine[part][touched].ravel(), cosines])
    owner = np.concatenate([old, probes])
    order = np.lexsort((row, -cosine, owner))
    # Each probe's candidates are now consecutive, best first: its first k are the new result.
    begin = np.searchsorted(owner[order], touched)
    keep = order[begin[:, None] + np.arange(k)]
    best.row[part][touched] = row[keep]
    best.cosine[part][touched] = cosine[keep]
