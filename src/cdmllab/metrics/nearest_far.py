"""TAR at a FAR by the rule of the public IJB scripts, for comparison with published numbers.

arcface_torch's `eval_ijbc.py
<https://github.com/deepinsight/insightface/blob/master/recognition/arcface_torch/eval_ijbc.py>`_
takes the point of scikit-learn's ROC curve whose FAR is *nearest* to the given one, even if it is
higher. The exact rule, `ranked.tar_at_far`, never exceeds the given FAR. With millions of impostor
pairs the two differ little; with a thousand and a FAR of 0.001, the nearest point may have twice
that FAR.

The curve consists of its corners only: scikit-learn drops a threshold that adds as many genuine and
as many impostor pairs as the threshold before it. The nearest point depends on what was dropped.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdmllab.metrics.ranked import Ranked

Floats = NDArray[np.float64]
_WINDOW = 256  # impostor pairs on each side of the given FAR that are searched first


class Nearest(NamedTuple):
    """The point of the ROC curve that is nearest to a given FAR."""

    tar: float
    far: float  # of that point; may exceed the given FAR


def tar_at_far(ranked: Ranked, far: float) -> Nearest:
    """The TAR at the nearest FAR; of two equally near FARs, at the larger.

    Of several points with that FAR it is the highest TAR. Only a window of the sorted scores is
    searched, wide enough to contain a corner on either side.

    Raises
    ------
    ValueError : `far` outside [0, 1]
    """
    if not 0.0 <= far <= 1.0:
        raise ValueError(f"a FAR must lie in [0, 1], got {far}")
    pairs = len(ranked.impostor)
    target, width = far * pairs, _WINDOW
    while True:
        # Count on either side of the wanted number of
        # impostor pairs; widen until a corner encloses it.
        accepted, complete = _window(ranked, int(target) - width, int(target) + width)
        impostors = accepted[0]
        if complete or (len(impostors) and impostors[0] <= target <= impostors[-1]):
            # From counts to rates, FAR in row 0 and TAR in
            # row 1; reversed, they fill `Nearest` in order.
            rates = accepted / [[pairs], [len(ranked.genuine)]]
            return Nearest(*map(float, rates[::-1, _nearest(rates[0], far)]))
        width *= 8


def weighted(impostors: Floats, genuine: Floats, fars: Sequence[float]) -> Floats:
    """The same for weighted pairs; NaN if one kind has no weight.

    Parameters
    ----------
    impostors, genuine : weight accepted at each threshold, by falling threshold, shape (r, k) for r
        sets of weights
    fars : f FARs

    Returns
    -------
    TARs of shape (f, r).
    """
    tars = np.full((len(fars), len(impostors)), np.nan)
    for row, accepted in enumerate(np.stack([impostors, genuine], axis=1)):
        if accepted[:, -1].min() > 0.0:
            # A threshold that only adds pairs without weight is not a point of the curve.
            moves = np.diff(accepted, axis=1, prepend=0.0).any(axis=0)
            points = accepted[:, moves]
            # Divide by the total weights; the curve starts at (0, 0), which accepts nothing.
            far, tar = _from_zero(points[:, _corners(points)]) / accepted[:, -1:]
            tars[:, row] = [tar[_nearest(far, target)] for target in fars]
    return tars


def _window(ranked: Ranked, first: int, last: int) -> tuple[Floats, bool]:
    """The curve between two impostor pairs, counted from the one with the highest score.

    Returns the accepted impostor and genuine pairs at each corner, shape (2, k), and whether that
    is the complete curve.
    """
    impostor = ranked.impostor
    top, end = first < 0, last >= len(impostor)
    high = np.inf if top else impostor[len(impostor) - 1 - first]
    low = -np.inf if end else impostor[len(impostor) - 1 - last]
    # The scores of either kind between the two limits, both included.
    inside = [s[np.searchsorted(s, low) : np.searchsorted(s, high, "right")] for s in ranked]
    thresholds = np.unique(np.concatenate(inside))[::-1]  # distinct, falling
    genuine, impostors = (len(scores) - np.searchsorted(scores, thresholds) for scores in ranked)
    points = np.stack([impostors, genuine]).astype(np.float64)
    # Whether the ends of a window are corners depends on
    # points outside of it, except at the curve's own ends.
    kept = _corners(points)
    kept[0] &= top
    kept[-1] &= end
    corners = points[:, kept]
    return (_from_zero(corners) if top else corners), top and end


def _corners(points: Floats) -> NDArray[np.bool_]:
    """Whether scikit-learn keeps each of k points, (2, k) to (k,): both ends, and bends."""
    # A point is straight if both counts grow as much
    # after it as before: second differences of zero.
    kept = np.ones(points.shape[1], dtype=bool)
    kept[1:-1] = np.diff(points, 2, axis=1).any(axis=0)
    return kept


def _from_zero(points: Floats) -> Floats:
    return np.concatenate([np.zeros((2, 1)), points], axis=1)


def _nearest(rising: Floats, far: float) -> int:
    """The last of the positions where the FAR is nearest."""
    distance = np.abs(rising - far)
    return int(np.flatnonzero(distance == distance.min())[-1])
