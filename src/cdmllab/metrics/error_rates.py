"""Error analysis: which pairs are misjudged, and under which conditions."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics.calibration import People, rates
from cdmllab.metrics.ranked import check

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Worst(NamedTuple):
    """The most misjudged pairs, the worst first."""

    genuine: Ints  # [n] positions of genuine pairs, lowest score first
    impostor: Ints  # [n] positions of impostor pairs, highest score first


def worst(scores: ArrayLike, same: ArrayLike, count: int = 12) -> Worst:
    """The `count` least similar genuine and most similar impostor pairs, or all of a kind.

    Raises
    ------
    ValueError : as `ranked.check`; `count` below 1
    """
    s, y = check(scores, same)
    if count < 1:
        raise ValueError(f"count must be 1 or more, got {count}")
    genuine, impostor = np.flatnonzero(y), np.flatnonzero(~y)
    return Worst(
        genuine[np.argsort(s[genuine], kind="stable")[:count]],
        impostor[np.argsort(-s[impostor], kind="stable")[:count]],
    )


class Binned(NamedTuple):
    """The error rate in each bin of a nuisance, with an interval; NaN in an empty bin."""

    edges: Floats  # [k + 1]
    rate: Floats  # [k]
    low: Floats  # [k]
    high: Floats  # [k]
    pairs: Ints  # [k]


def by_nuisance(
    wrong: ArrayLike,
    nuisance: ArrayLike,
    bins: int | ArrayLike = 8,
    *,
    people: People | None = None,
) -> Binned:
    """The error rate of pairs in bins of a known property of the pair.

    Parameters
    ----------
    wrong : whether each pair is misjudged, shape (p,). Pass genuine and impostor pairs separately:
        most nuisances make both less similar, which is an error for genuine pairs only
    nuisance : of each pair, shape (p,), such as the larger yaw of the two images
    bins : the number of bins of equal width, or their ascending edges, shape (k + 1,)
    people : the identities in each pair, for intervals over people, see `calibration.rates`

    Raises
    ------
    ValueError : shapes that differ, no pairs, a nuisance that is not finite, edges that do not
        ascend
    """
    w, x = np.asarray(wrong).astype(bool), np.asarray(nuisance, dtype=np.float64)
    if w.ndim != 1 or w.shape != x.shape:
        raise ValueError(
            f"wrong and nuisance must both have shape (p,), got {w.shape} and {x.shape}"
        )
    if len(w) == 0:
        raise ValueError("no pairs")
    if not np.isfinite(x).all():
        raise ValueError(
            f"the nuisance of pair {int(np.flatnonzero(~np.isfinite(x))[0])} is not finite"
        )
    edges = (
        np.histogram_bin_edges(x, bins)
        if isinstance(bins, int)
        else np.asarray(bins, dtype=np.float64)
    )
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0.0).all():
        raise ValueError("the edges of bins must be two or more, in ascending order")
    k = len(edges) - 1
    # Bins are closed on the left; only the last also contains its right edge, as in `np.histogram`.
    at = np.where(x == edges[-1], k - 1, np.searchsorted(edges, x, side="right") - 1)
    inside = (at >= 0) & (at < k)
    pairs = np.bincount(at[inside], minlength=k)
    # Empty bins stay NaN; `rates` returns one rate for each bin that has pairs, in ascending order.
    table = np.full((k, 3), np.nan)
    if inside.any():
        bin_people = None
        if people is not None:
            bin_people = (np.asarray(people[0])[inside], np.asarray(people[1])[inside])
        # Value, low, high.
        table[pairs > 0] = [rate[:3] for rate in rates(w[inside], at[inside], bin_people)]
    return Binned(edges, table[:, 0], table[:, 1], table[:, 2], pairs)
