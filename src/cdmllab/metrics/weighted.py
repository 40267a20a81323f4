"""Verification measures of weighted pairs, for many sets of weights at a time: what a bootstrap repeats.

With all weights 1 each equals its plain form in `verification`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Curve:
    """The ROC of p pairs, sorted once.

    Parameters
    ----------
    scores, same : shape (p,), both kinds present
    """

    def __init__(self, scores: Floats, same: Bools) -> None:
        self._order = np.argsort(-scores, kind="stable")
        falling = scores[self._order]
        self._last_of_tie = np.append(falling[1:] != falling[:-1], True)
        self._same = same[self._order].astype(np.float64)

    def measures(self, weights: Floats, fars: Sequence[float] = ()) -> dict[str, Floats]:
        """``"auc"``, ``"eer"`` and ``"tar@<far>"`` for weights of shape (r, p), each of shape (r,).

        NaN where a set of weights leaves only one kind of pairs.
        """
        far, tar = self._rates(weights)
        rows = np.arange(len(weights))
        values: dict[str, Floats] = {"auc": np.asarray(np.trapezoid(tar, far, axis=1))}

        gap = far + tar - 1.0
        k = np.maximum(np.argmax(gap >= 0.0, axis=1), 1)
        low, high = gap[rows, k - 1], gap[rows, k]
        values["eer"] = far[rows, k - 1] + low / (low - high) * (far[rows, k] - far[rows, k - 1])
        for wanted in fars:
            within = (far <= wanted * (1.0 + 1e-12)).sum(axis=1) - 1
            values[f"tar@{wanted:g}"] = np.where(np.isnan(far[:, -1]), np.nan, tar[rows, within])
        return values

    def _rates(self, weights: Floats) -> tuple[Floats, Floats]:
        w = weights[:, self._order]
        genuine = np.cumsum(w * self._same, axis=1)[:, self._last_of_tie]
        impostor = np.cumsum(w * (1.0 - self._same), axis=1)[:, self._last_of_tie]
        far, tar = (
            np.concatenate([np.zeros((len(w), 1)), counts / np.where(counts[:, -1:] > 0.0, counts[:, -1:], np.nan)], 1)
            for counts in (impostor, genuine)
        )
        return far, tar


class Folds:
    """LFW's accuracy over folds, each fold's complement sorted once.

    Parameters
    ----------
    scores, same : shape (p,), both kinds in the complement of every fold
    fold : shape (p,)
    """

    def __init__(self, scores: Floats, same: Bools, fold: ArrayLike) -> None:
        f = np.asarray(fold)
        self._parts = []
        for k in np.unique(f):
            rest, own = np.flatnonzero(f != k), np.flatnonzero(f == k)
            rest = rest[np.argsort(-scores[rest], kind="stable")]
            falling = scores[rest]
            last = np.append(falling[1:] != falling[:-1], True)
            values = falling[last]
            edges = np.concatenate([[np.inf], (values[:-1] + values[1:]) / 2.0, values[-1:]])
            self._parts.append((rest, np.where(same[rest], 1.0, -1.0), last, edges, own, scores[own], same[own]))

    def accuracy(self, weights: Floats) -> Floats:
        """Mean over folds for weights of shape (r, p); a fold without any weight is left out. Shape (r,)."""
        per_fold = np.empty((len(weights), len(self._parts)))
        for k, (rest, sign, last, edges, own, scores, same) in enumerate(self._parts):
            gained = np.cumsum(weights[:, rest] * sign, axis=1)[:, last]
            gained = np.concatenate([np.zeros((len(weights), 1)), gained], axis=1)
            best = gained >= gained.max(axis=1, keepdims=True) - 0.5
            middle = best.sum(axis=1, keepdims=True) // 2 + 1
            threshold = edges[np.argmax(np.cumsum(best, axis=1) >= middle, axis=1)]
            w = weights[:, own]
            right = (scores >= threshold[:, None]) == same
            total = w.sum(axis=1)
            per_fold[:, k] = (w * right).sum(axis=1) / np.where(total > 0.0, total, np.nan)
        return np.asarray(np.nanmean(per_fold, axis=1))
