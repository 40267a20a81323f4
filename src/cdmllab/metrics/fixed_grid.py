"""Accuracy over folds by arcface_torch's rule, to compare with numbers that were measured by it.

The rule is that of David Sandberg's FaceNet code of 2016
(https://github.com/davidsandberg/facenet), which arcface_torch took over. Thresholds are the 400
values 0.00, 0.01, .., 3.99 of the squared L2 distance of unit embeddings, whatever the scores are;
the lowest of the best is taken; a pair is accepted when its distance is *below* the threshold. The
exact rule is `verification.fold_accuracy`. The difference is the price of the grid: a step of 0.01
in squared distance is 0.005 in cosine.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics.ranked import check

Floats = NDArray[np.float64]

THRESHOLDS: Floats = np.arange(0, 4, 0.01)


class GridAccuracy(NamedTuple):
    """What the rule gives; `far` and `tar` are means over folds at every threshold of the grid."""

    mean: float
    std: float  # over folds (divisor k)
    per_fold: Floats  # [folds]
    thresholds: Floats  # [folds] squared L2
    far: Floats  # [400]
    tar: Floats  # [400]


def fold_accuracy(squared_l2: ArrayLike, same: ArrayLike, fold: ArrayLike) -> GridAccuracy:
    """Judge each fold with the threshold of the grid that is best on all the others.

    Parameters
    ----------
    squared_l2 : shape (p,), 2 - 2 cosine, see `scoring.convert`
    same : shape (p,), True for genuine pairs
    fold : shape (p,), the fold of each pair; arcface_torch cuts the list into ten equal runs

    Raises
    ------
    ValueError : as `verification.fold_accuracy`
    """
    d, y = check(squared_l2, same)
    f = np.asarray(fold)
    if f.shape != d.shape:
        raise ValueError(f"fold must have shape {d.shape}, got {f.shape}")
    _, f = np.unique(f, return_inverse=True)
    k, t = int(f.max()) + 1, len(THRESHOLDS)
    if k < 2:
        raise ValueError(f"accuracy over folds needs two folds or more, got {k}")
    lowest = np.searchsorted(
        THRESHOLDS, d, side="right"
    )  # the first threshold that accepts the pair
    cell = (f * 2 + y) * (t + 1) + lowest
    accepted = np.bincount(cell, minlength=2 * k * (t + 1)).reshape(k, 2, t + 1).cumsum(axis=2)
    impostors, genuine = accepted[:, 0, -1], accepted[:, 1, -1]
    far, tar = accepted[:, 0, :t], accepted[:, 1, :t]  # counts
    right = tar + impostors[:, None] - far  # [k, t]
    best = np.argmax(right.sum(axis=0) - right, axis=1)
    per_fold = right[np.arange(k), best] / (genuine + impostors)
    rates = [
        np.mean(n / np.maximum(of, 1)[:, None], axis=0)
        for n, of in ((far, impostors), (tar, genuine))
    ]
    return GridAccuracy(
        float(per_fold.mean()), float(per_fold.std()), per_fold, THRESHOLDS[best], *rates
    )
