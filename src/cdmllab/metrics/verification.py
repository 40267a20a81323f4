"""1:1 verification: exact ROC, AUC, EER, TAR at a FAR and accuracy over folds, from scores.

A score is higher the more alike two images are. A pair is accepted if score >= threshold. FAR is
the share of impostor pairs that are accepted, TAR the share of genuine pairs that are accepted.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics import ranked
from cdmllab.metrics.ranked import check

Floats = NDArray[np.float64]


class Roc(NamedTuple):
    """All operating points, one per distinct score, from "accept none" to "accept all"."""

    threshold: Floats  # [k] descending, the first is infinity
    far: Floats  # [k] ascending from 0 to 1
    tar: Floats  # [k] ascending from 0 to 1


class FoldAccuracy(NamedTuple):
    """Accuracy over folds, with the threshold of each fold chosen on the others."""

    mean: float
    std: float  # over folds, as papers report it (divisor k, not k - 1)
    per_fold: Floats  # [folds]
    thresholds: Floats  # [folds]


def roc(scores: ArrayLike, same: ArrayLike) -> Roc:
    """The exact ROC of p pairs.

    Parameters
    ----------
    scores : shape (p,), higher = more alike
    same : shape (p,), True for genuine pairs

    Raises
    ------
    ValueError : no pairs, NaN scores, only genuine or only impostor pairs, shapes that differ
    """
    s, y = check(scores, same)
    order = np.argsort(-s, kind="stable")
    s, y = s[order], y[order]
    # Scores that tie are accepted together: only the last of them is an operating point.
    last_of_tie = np.append(s[1:] != s[:-1], True)
    accepted = np.arange(1, len(s) + 1)[last_of_tie]
    genuine = np.cumsum(y)[last_of_tie]
    # Both start with the point that accepts nothing, at a threshold of infinity.
    tar = np.concatenate([[0.0], genuine / y.sum()])
    far = np.concatenate([[0.0], (accepted - genuine) / (~y).sum()])
    return Roc(np.concatenate([[np.inf], s[last_of_tie]]), far, tar)


def auc(scores: ArrayLike, same: ArrayLike) -> float:
    """Area under the ROC: the probability that a genuine pair outscores an impostor pair.

    Ties count half.

    Examples
    --------
    >>> auc([0.9, 0.7, 0.4, 0.3], [True, True, False, True])
    0.6666666666666666
    """
    return ranked.auc(ranked.rank(scores, same))


def eer(scores: ArrayLike, same: ArrayLike) -> float:
    """Equal error rate: where FAR = 1 - TAR, interpolated linearly between two points of the ROC.

    Examples
    --------
    >>> eer([0.9, 0.6, 0.7, 0.3], [True, True, False, False])
    0.5
    """
    return ranked.eer(ranked.rank(scores, same))


def tar_at_far(scores: ArrayLike, same: ArrayLike, far: float) -> float:
    """The largest TAR whose FAR does not exceed `far`.

    Raises
    ------
    ValueError : `far` below 1 / (number of impostor pairs), which these pairs cannot resolve, or
        above 1

    Examples
    --------
    Of three genuine pairs two score above both impostor pairs, and all three above one of them:

    >>> scores, same = [0.9, 0.7, 0.4, 0.3, 0.2], [True, True, False, True, False]
    >>> tar_at_far(scores, same, far=0.5)
    1.0
    """
    return ranked.tar_at_far(ranked.rank(scores, same), far)


def accuracy(scores: ArrayLike, same: ArrayLike, threshold: float) -> float:
    """Share of pairs that are judged correctly at a threshold."""
    s, y = check(scores, same)
    return float(((s >= threshold) == y).mean())


def best_threshold(scores: ArrayLike, same: ArrayLike) -> float:
    """The threshold with the highest accuracy on these pairs, half-way between two scores.

    Of several equally good ones it is the middle one, which depends least on single pairs.
    """
    s, y = check(scores, same)
    curve = roc(s, y)
    # Correct decisions at each point: accepted genuine and rejected impostor pairs.
    right = curve.tar * y.sum() + (1.0 - curve.far) * (~y).sum()
    best = np.flatnonzero(
        right >= right.max() - 0.5
    )  # these are counts, so half a pair absorbs rounding
    k = int(best[len(best) // 2])
    if k == 0:  # reject all: just above the highest score
        return float(np.nextafter(curve.threshold[1], np.inf))
    if k == len(curve.threshold) - 1:  # accept all: at the lowest score
        return float(curve.threshold[k])
    return float((curve.threshold[k] + curve.threshold[k + 1]) / 2.0)


def fold_accuracy(scores: ArrayLike, same: ArrayLike, fold: ArrayLike) -> FoldAccuracy:
    """LFW's rule: the threshold of each fold is the one that is best on all other folds.

    Parameters
    ----------
    scores, same : shape (p,)
    fold : shape (p,), the fold of each pair; two or more different folds

    Raises
    ------
    ValueError : as `roc` for the pairs outside of each fold; fewer than two folds

    Examples
    --------
    >>> scores, same = [0.9, 0.2, 0.8, 0.3], [True, False, True, False]
    >>> fold_accuracy(scores, same, fold=[0, 0, 1, 1]).per_fold
    array([1., 1.])
    """
    s, y = check(scores, same)
    f = np.asarray(fold)
    if f.shape != s.shape:
        raise ValueError(f"fold must have shape {s.shape}, got {f.shape}")
    folds = np.unique(f)
    if len(folds) < 2:
        raise ValueError(f"accuracy over folds needs at least two folds, got {len(folds)}")
    thresholds = np.array([best_threshold(s[f != k], y[f != k]) for k in folds])
    right = [np.mean((s[f == k] >= t) == y[f == k]) for k, t in zip(folds, thresholds, strict=True)]
    per_fold = np.array(right)
    return FoldAccuracy(float(per_fold.mean()), float(per_fold.std()), per_fold, thresholds)
