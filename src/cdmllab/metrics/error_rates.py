"""Error analysis: which pairs are judged wrongly, and under which conditions."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics.calibration import People, rates
from cdmllab.metrics.ranked import check

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Worst(NamedTuple):
    """Pairs on the wrong side, or nearest to it, the worst first."""

    genuine: Ints  # [n] positions of genuine pairs, by rising score
    impostor: Ints  # [n] positions of impostor pairs, by falling score


def worst(scores: ArrayLike, same: ArrayLike, count: int = 12) -> Worst:
    """The `count` least alike genuine and most alike impostor pairs; fewer where there are fewer.

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
    """A share of errors in each bin of a nuisance, with an interval; NaN where a bin is empty."""

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
    """How often pairs are judged wrongly, against a known property of the pair.

    Parameters
    ----------
    wrong : True where a pair is judged wrongly, shape (p,); pass genuine and impostor pairs apart,
        since most nuisances make both less alike, which is an error for one kind only
    nuisance : a number for each pair, shape (p,), such as the larger yaw of the two images
    bins : how many, of equal width over the range; or their edges, rising, shape (k + 1,)
    people : who is compared in each pair, for intervals that draw people, see `calibration.rates`

    Raises
    ------
    ValueError : shapes that differ, no pairs, a nuisance that is not finite, edges that do not rise
    """
    w, x = np.asarray(wrong).astype(bool), np.asarray(nuisance, dtype=np.float64)
    if w.ndim != 1 or w.shape != x.shape:
        raise ValueError(
            f"wrong and nuisance must both have shape (p,), got {w.shape} and {x.shape}"
        )
    if len(w) == 0:
        raise ValueError("there are no pairs")
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
        raise ValueError("the edges of bins must rise, and be two or more")
    k = len(edges) - 1
    at = np.where(x == edges[-1], k - 1, np.searchsorted(edges, x, side="right") - 1)
    inside = (at >= 0) & (at < k)
    pairs = np.bincount(at[inside], minlength=k)
    found = np.full((k, 3), np.nan)
    if inside.any():
        who = None
        if people is not None:
            who = (np.asarray(people[0])[inside], np.asarray(people[1])[inside])
        found[pairs > 0] = [rate[:3] for rate in rates(w[inside], at[inside], who)]
    return Binned(edges, found[:, 0], found[:, 1], found[:, 2], pairs)
