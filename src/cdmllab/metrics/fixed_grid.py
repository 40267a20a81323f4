"""Accuracy over folds by arcface_torch's rule, for comparison with published numbers.

The rule is that of David Sandberg's FaceNet code of 2016
(https://github.com/davidsandberg/facenet), which arcface_torch adopted. Thresholds are the 400
values 0.00, 0.01, .., 3.99 of the squared L2 distance of unit embeddings, whatever the scores are.
The lowest of the best thresholds is taken, and a pair is accepted if its distance is *below* it.
The exact rule is `verification.fold_accuracy`. They differ because of the grid: a step of 0.01 in
squared distance is a step of 0.005 in cosine.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics.ranked import check

Floats = NDArray[np.float64]

THRESHOLDS: Floats = np.arange(0, 4, 0.01)


class GridAccuracy(NamedTuple):
    """Accuracy by the grid's rule; `far` and `tar` are means over folds at each threshold."""

    mean: float
    std: float  # over folds (divisor k)
    per_fold: Floats  # [folds]
    thresholds: Floats  # [folds] squared L2
    far: Floats  # [400]
    tar: Floats  # [400]


def fold_accuracy(squared_l2: ArrayLike, same: ArrayLike, fold: ArrayLike) -> GridAccuracy:
    """Measure each fold at the threshold of the grid that is best on all others.

    Parameters
    ----------
    squared_l2 : shape (p,), 2 - 2 cosine, see `scoring.convert`
    same : shape (p,), True for genuine pairs
    fold : shape (p,), the fold of each pair; arcface_torch cuts the list into ten equal parts

    Raises
    ------
    ValueError : as `verification.fold_accuracy`
    """
    d, y = check(squared_l2, same)
    f = np.asarray(fold)
    if f.shape != d.shape:
        raise ValueError(f"fold must have shape {d.shape}, got {f.shape}")
    _, f = np.unique(f, return_inverse=True)  # folds as 0 to k - 1
    k, t = int(f.max()) + 1, len(THRESHOLDS)
    if k < 2:
        raise ValueError(f"accuracy over folds needs at least two folds, got {k}")
    # The lowest threshold that accepts each pair.
    lowest = np.searchsorted(THRESHOLDS, d, side="right")
    # One histogram over fold, kind and threshold; its running sum counts the accepted
    # pairs. Pairs that no threshold accepts fall into the additional last cell.
    cell = (f * 2 + y) * (t + 1) + lowest
    accepted = np.bincount(cell, minlength=2 * k * (t + 1)).reshape(k, 2, t + 1).cumsum(axis=2)
    impostors, genuine = accepted[:, 0, -1], accepted[:, 1, -1]
    far, tar = accepted[:, 0, :t], accepted[:, 1, :t]  # counts
    # Correct decisions: accepted genuine pairs, and impostor pairs that are not accepted.
    right = tar + impostors[:, None] - far  # [k, t]
    # The best threshold on all other folds; argmax takes the lowest of several, as the rule says.
    best = np.argmax(right.sum(axis=0) - right, axis=1)
    per_fold = right[np.arange(k), best] / (genuine + impostors)
    # A fold without one kind of pairs counts as a rate of zero, as in arcface_torch.
    rates = [
        np.mean(n / np.maximum(total, 1)[:, None], axis=0)
        for n, total in ((far, impostors), (tar, genuine))
    ]
    return GridAccuracy(
        float(per_fold.mean()), float(per_fold.std()), per_fold, THRESHOLDS[best], *rates
    )
