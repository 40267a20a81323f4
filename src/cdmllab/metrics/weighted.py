"""Verification measures of weighted pairs, for many sets of weights at once, as a bootstrap needs.

Pairs are sorted by falling score. With all weights 1, each measure equals its unweighted form in
`verification`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics import nearest_far

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_EXACT = 200_000  # the highest scores, each of which is a threshold
_STEPS = 20_000  # thresholds among all scores below these


class WeightedCurve:
    """The ROC of p pairs by falling score.

    With up to 200,000 pairs, every score is a threshold. With more, the highest 200,000 are, which
    decide small FARs, and 20,000 to 40,000 spread over the others.

    Parameters
    ----------
    falling : scores, shape (p,), falling
    same : shape (p,), both kinds present
    """

    def __init__(self, falling: Floats, same: Bools) -> None:
        # The curve has a point at the first pair of each group of equal scores.
        starts = np.flatnonzero(np.append(True, falling[1:] != falling[:-1]))
        below = starts[starts >= _EXACT]
        # Thin out evenly; fewer than twice `_STEPS` of these thresholds remain.
        thinned = below[:: max(1, len(below) // _STEPS)]
        self._starts = np.concatenate([starts[starts < _EXACT], thinned])
        self._same = same
        # Points of the curve are groups of pairs, from one start to the next.
        ends = np.append(self._starts[1:], len(falling))
        # The lowest accepted score at each point of the curve.
        self._lowest = np.append(np.nextafter(falling[0], np.inf), falling[ends - 1])

    def measures(self, weights: Floats, fars: Sequence[float] = ()) -> dict[str, Floats]:
        """Measures by name for weights of shape (r, p), each of shape (r,).

        The names are ``"auc"``, ``"eer"`` and for each of `fars` ``"tar@<far>"``,
        ``"threshold@<far>"`` and, by the rule of `nearest_far`, ``"nearest_tar@<far>"``. A measure
        is NaN if a set of weights leaves only one kind of pairs.
        """
        impostors, genuine = (  # [r, k]
            self._accepted(~self._same * weights),
            self._accepted(self._same * weights),
        )
        far, tar = _rates(impostors), _rates(genuine)
        rows = np.arange(len(weights))
        values: dict[str, Floats] = {"auc": np.asarray(np.trapezoid(tar, far, axis=1))}

        # FAR - (1 - TAR) rises along the curve; it changes its sign between points k - 1 and k.
        gap = far + tar - 1.0
        # At least 1: the first point, which accepts
        # nothing, has none before it to interpolate from.
        k = np.maximum(np.argmax(gap >= 0.0, axis=1), 1)
        low, high = gap[rows, k - 1], gap[rows, k]
        values["eer"] = far[rows, k - 1] + low / (low - high) * (far[rows, k] - far[rows, k - 1])
        # The highest TAR within the FAR is the last point of the curve that does
        # not exceed it. The factor absorbs rounding, as in `ranked.allowed`.
        for target in fars:
            within = (far <= target * (1.0 + 1e-12)).sum(axis=1) - 1
            unknown = np.isnan(far[:, -1] + tar[:, -1])  # no weight of one kind
            values[f"tar@{target:g}"] = np.where(unknown, np.nan, tar[rows, within])
            values[f"threshold@{target:g}"] = np.where(unknown, np.nan, self._lowest[within])
        nearest = nearest_far.weighted(impostors, genuine, fars)
        values |= {
            f"nearest_tar@{target:g}": tars for target, tars in zip(fars, nearest, strict=True)
        }
        return values

    def _accepted(self, weights: Floats) -> Floats:
        return np.asarray(np.cumsum(np.add.reduceat(weights, self._starts, axis=1), axis=1))


def _rates(accepted: Floats) -> Floats:
    """Shares of the total weight, from accepting none to accepting all; (r, k) to (r, k + 1)."""
    total = accepted[:, -1:]
    shares = accepted / np.where(total > 0.0, total, np.nan)
    return np.concatenate([np.where(total > 0.0, 0.0, np.nan), shares], axis=1)


class Folds:
    """LFW's accuracy over folds.

    Parameters
    ----------
    falling, same : as for `WeightedCurve`; both kinds occur outside of every fold
    fold : shape (p,), two or more different folds
    """

    def __init__(self, falling: Floats, same: Bools, fold: ArrayLike) -> None:
        f = np.asarray(fold)
        self._parts = []
        for k in np.unique(f):
            # The threshold of a fold depends on the pairs of all other folds, here called the rest.
            rest, own = np.flatnonzero(f != k), np.flatnonzero(f == k)
            theirs = falling[rest]
            starts = np.flatnonzero(np.append(True, theirs[1:] != theirs[:-1]))
            values = theirs[starts]
            # Possible thresholds: above every score, half-way between two, at the lowest.
            edges = np.concatenate([[np.inf], (values[:-1] + values[1:]) / 2.0, values[-1:]])
            # Accepting a genuine pair gains its weight, accepting an impostor pair loses it.
            sign = np.where(same[rest], 1.0, -1.0)
            self._parts.append((rest, sign, starts, edges, own, falling[own], same[own]))

    def accuracy(self, weights: Floats) -> Floats:
        """The mean over folds for weights of shape (r, p), without empty folds; shape (r,)."""
        per_fold = np.empty((len(weights), len(self._parts)))
        nothing = np.zeros((len(weights), 1))
        for k, (rest, sign, starts, edges, own, falling, same) in enumerate(self._parts):
            # [r, thresholds]
            gained = np.cumsum(np.add.reduceat(weights[:, rest] * sign, starts, axis=1), axis=1)
            gained = np.concatenate([nothing, gained], axis=1)
            # Weights are counts, so half a count absorbs rounding. Of equally good thresholds the
            # middle one is taken, as in `verification.best_threshold`.
            best = gained >= gained.max(axis=1, keepdims=True) - 0.5
            middle = best.sum(axis=1, keepdims=True) // 2 + 1
            threshold = edges[np.argmax(np.cumsum(best, axis=1) >= middle, axis=1)]
            w = weights[:, own]
            right = (falling >= threshold[:, None]) == same  # [r, pairs of the fold]
            total = w.sum(axis=1)
            per_fold[:, k] = (w * right).sum(axis=1) / np.where(total > 0.0, total, np.nan)
        return np.asarray(np.nanmean(per_fold, axis=1))
