"""QMagFace: a comparison score that trusts a low cosine less where an image is of low quality.

Terhörst et al., QMagFace: Simple and Accurate Quality-Aware Face Recognition, WACV 2023, arXiv
2111.13475_. The cosine s of a pair of quality q becomes s + omega q, with a weight omega that
depends on s and is never positive. The two numbers of the weight are fitted on pairs of other
people.

.. _2111.13475: https://arxiv.org/abs/2111.13475
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics.discard import checked, falling, highest_refused
from cdmllab.metrics.ranked import allowed

Floats = NDArray[np.float64]


class QualityWeight(NamedTuple):
    """The weight omega(s) = min(0, beta s - alpha) of the quality at a cosine s."""

    alpha: float
    beta: float

    def omega(self, scores: ArrayLike) -> Floats:
        """The weight of the quality at each score, at most 0; any shape."""
        return np.minimum(self.beta * np.asarray(scores, dtype=np.float64) - self.alpha, 0.0)


def weighted_scores(scores: ArrayLike, quality: ArrayLike, weight: QualityWeight) -> Floats:
    """s + omega(s) q of each pair; shapes (p,), (p,) to (p,).

    Parameters
    ----------
    scores : cosines
    quality : of each pair, the lower of its images', see `discard.pair_quality`
    weight : from `fit`

    Examples
    --------
    A weight of 0 from a cosine of 0.5 on leaves high scores alone:

    >>> weighted_scores([0.6, 0.1], [2.0, 2.0], QualityWeight(alpha=0.05, beta=0.1))
    array([0.6 , 0.02])
    """
    s = np.asarray(scores, dtype=np.float64)
    q = np.asarray(quality, dtype=np.float64)
    if s.shape != q.shape:
        raise ValueError(f"scores and quality must have the same shape, got {s.shape}, {q.shape}")
    return s + weight.omega(s) * q


def fit(
    scores: ArrayLike,
    same: ArrayLike,
    quality: ArrayLike,
    *,
    fmrs: Sequence[float],
    weights: int = 21,
    largest: float = 0.5,
) -> QualityWeight:
    """Fit the weight on pairs: the best omega at each FMR, and a line through them.

    At each FMR the omega with the lowest FNMR is chosen from a grid, of equal ones the nearest to
    0. The line fits these omegas over the thresholds that they have. The authors' code_ puts scores
    through a sigmoid before it takes those thresholds, but not when it applies the weight; here
    both are cosines.

    Parameters
    ----------
    scores, same, quality : of pairs, shape (p,), as for `discard.fnmr`; qualities above 0
    fmrs : false match rates, two or more; the paper takes 50 from 1e-5 to 1e-2, evenly in logarithm
    weights : the number of omegas, which is odd so that 0 is among them
    largest : the largest omega, times the largest quality

    Raises
    ------
    ValueError : as `discard.fnmr`; a quality that is not positive, fewer than two FMRs, an even
        number of weights

    .. _code: https://github.com/pterhoer/QMagFace/blob/main/similarity/qmagface.py
    """
    s, y, q = checked(scores, same, quality)
    if not (q > 0.0).all():
        pair = int(np.flatnonzero(~(q > 0.0))[0])
        raise ValueError(f"qualities must be positive, but that of pair {pair} is {q[pair]:g}")
    if len(fmrs) < 2:
        raise ValueError(f"a line needs two or more FMRs, got {len(fmrs)}")
    if weights < 3 or weights % 2 == 0:
        raise ValueError(f"weights must be odd and at least 3, got {weights}")
    for fmr in fmrs:
        allowed(fmr, int((~y).sum()))
    grid = np.linspace(-largest, largest, weights) / q.max()
    by_distance = np.argsort(np.abs(grid), kind="stable")  # the smallest omega first
    omegas = grid[by_distance]
    threshold = np.empty((weights, len(fmrs)))
    fnmr = np.empty_like(threshold)
    for k, omega in enumerate(omegas):
        score = s + omega * q
        impostors, ones = falling(score, y), np.ones(len(s))
        threshold[k] = [highest_refused(score, impostors, ones, fmr) for fmr in fmrs]
        fnmr[k] = (score[y, None] <= threshold[k]).mean(axis=0)
    best = fnmr.argmin(axis=0)  # the first of equal ones
    t, chosen = threshold[best, np.arange(len(fmrs))], omegas[best]
    if np.ptp(t) == 0.0:  # a single threshold determines no slope
        return QualityWeight(alpha=-float(chosen.mean()), beta=0.0)
    beta, intercept = np.polyfit(t, chosen, 1)
    return QualityWeight(alpha=-float(intercept), beta=float(beta))
