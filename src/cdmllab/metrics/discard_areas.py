"""The area under a curve of error against discard, and its spread over resampled people."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics.bootstrap import _people
from cdmllab.metrics.discard import (
    RATES,
    DiscardCurve,
    ShareOf,
    Threshold,
    checked,
    checked_rates,
    falling,
    fnmr,
    highest_refused,
    kept_pairs,
    rising,
)

Floats = NDArray[np.float64]


def area(curve: DiscardCurve, *, relative: bool = False) -> float:
    """Area under a curve by trapezia, divided by the width of its rates: its mean height.

    Parameters
    ----------
    curve : two or more rates
    relative : divide by the value at the first rate too. A quality that knows nothing then has
        about 1, and a lower FNMR gives a lower area

    Raises
    ------
    ValueError : fewer than two rates; a relative area where the first value is 0

    Examples
    --------
    >>> curve = fnmr([0.9, 0.1, 0.2], [True, True, False], [2, 1, 3], fmr=1.0, rates=[0.0, 0.5])
    >>> area(curve)
    0.0
    """
    if len(curve.rate) < 2:
        raise ValueError(f"an area needs two or more rates, got {len(curve.rate)}")
    height = float(_mean_height(curve.rate, curve.value))
    if not relative:
        return height
    if curve.value[0] == 0.0:
        raise ValueError("a relative area needs a first value other than 0")
    return height / float(curve.value[0])


def resampled_areas(
    scores: ArrayLike,
    same: ArrayLike,
    quality: ArrayLike,
    identities: tuple[ArrayLike, ArrayLike],
    *,
    fmr: float,
    threshold: Threshold = "fixed",
    share_of: ShareOf = "all",
    rates: Sequence[float] = RATES,
    relative: bool = False,
    replicates: int = 500,
    seed: int = 0,
) -> Floats:
    """The area under the curve of `fnmr` for resampled people, shape (replicates,).

    People are drawn with replacement and pairs weighted as in `bootstrap.intervals`. Equal seeds
    draw the same people, so the areas of two qualities of the same pairs may be subtracted draw by
    draw. An area is NaN where a draw has no genuine pair left at some rate, and, if relative,
    where the first value is 0.

    Parameters
    ----------
    scores, same, quality, fmr, threshold, share_of, rates : as for `fnmr`; two or more rates
    identities : the identity of the first and of the second image of each pair, each of shape (p,)
    relative : as for `area`
    replicates, seed : the number of draws, and of their seed

    Raises
    ------
    ValueError : as `fnmr` and `area` for all pairs; identities that contradict `same`, or fewer
        than 10 of them
    """
    area(fnmr(scores, same, quality, fmr=fmr, threshold=threshold, share_of=share_of, rates=rates))
    s, y, q = checked(scores, same, quality)
    r = checked_rates(rates)
    worst_first, impostors = rising(q, y, share_of), falling(s, y)
    draw = _people(*identities, np.arange(len(s)), y)
    rng = np.random.default_rng(seed)
    areas = np.empty(replicates)
    for k in range(replicates):
        w = draw(rng, 1)[0]
        fixed = highest_refused(s, impostors, w, fmr)
        values = np.empty(len(r))
        for n, rate in enumerate(r):
            kept = w * kept_pairs(q, worst_first, w, rate)
            refused = highest_refused(s, impostors, kept, fmr) if threshold == "repicked" else fixed
            with np.errstate(invalid="ignore"):  # no genuine pair left
                values[n] = (kept * (y & (s <= refused))).sum() / (kept * y).sum()
        areas[k] = _mean_height(r, values)
        if relative:
            areas[k] = areas[k] / values[0] if values[0] else np.nan
    return areas


def _mean_height(rate: Floats, value: Floats) -> np.float64:
    height: np.float64 = np.trapezoid(value, rate) / (rate[-1] - rate[0])
    return height
