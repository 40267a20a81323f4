"""Exact FAR, TAR, AUC and EER from sorted scores, for ten pairs or for ten million.

Genuine and impostor scores are sorted separately, which needs no argsort, and every rate is then a
binary search. The ROC is a staircase with its corners at the genuine scores, of which there are few
even if there are many impostors.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Ranked(NamedTuple):
    """The scores of both kinds of pairs, each sorted in ascending order."""

    genuine: Floats  # [g]
    impostor: Floats  # [i]

    def tar(self, threshold: ArrayLike) -> Floats:
        """Share of genuine pairs with a score of at least `threshold`."""
        return _share(self.genuine, threshold)

    def far(self, threshold: ArrayLike) -> Floats:
        """Share of impostor pairs with a score of at least `threshold`."""
        return _share(self.impostor, threshold)


def rank(scores: ArrayLike, same: ArrayLike) -> Ranked:
    """Split p scores by kind and sort them.

    Raises
    ------
    ValueError : as `check`
    """
    s, y = check(scores, same)
    return Ranked(np.sort(s[y]), np.sort(s[~y]))


def check(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Convert scores [p] to float64 and labels [p] to bool.

    Raises
    ------
    ValueError : no pairs, NaN scores, only genuine or only impostor pairs, shapes that differ
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(same).astype(bool)
    if s.ndim != 1 or s.shape != y.shape:
        raise ValueError(f"scores and same must both have shape (p,), got {s.shape} and {y.shape}")
    if len(s) == 0:
        raise ValueError("no pairs")
    if np.isnan(s).any():
        raise ValueError(f"the score of pair {int(np.flatnonzero(np.isnan(s))[0])} is NaN")
    if y.all() or not y.any():
        kind = "genuine" if y.all() else "impostor"
        raise ValueError(f"all {len(y):,} pairs are {kind}, but both kinds are needed")
    return s, y


def allowed(far: float, impostors: int) -> int:
    """The number of `impostors` pairs that may be accepted at a FAR of `far`.

    Raises
    ------
    ValueError : `far` below 1 / impostors, which these pairs cannot resolve, or above 1
    """
    if not 1.0 / impostors <= far <= 1.0:
        raise ValueError(
            f"a FAR of {far:g} cannot be measured with {impostors:,} impostor pairs: "
            f"it must lie in [{1.0 / impostors:.3g}, 1]"
        )
    # The factor keeps rounding from losing a pair: 0.29 * 100 is 28.999... in floating point.
    return int(far * impostors * (1.0 + 1e-12))


def tar_at_far(ranked: Ranked, far: float) -> float:
    """The largest TAR whose FAR does not exceed `far`; errors as `allowed`."""
    i = ranked.impostor
    k = allowed(far, len(i))
    if k == len(i):  # everything may be accepted, also scores below all impostors
        return 1.0
    refused = i[len(i) - 1 - k]  # the highest impostor score that must be rejected
    g = ranked.genuine
    return float((len(g) - np.searchsorted(g, refused, side="right")) / len(g))


def lowest_accepted(ranked: Ranked, far: float) -> float:
    """The lowest accepted score, of either kind, at the operating point of `tar_at_far`.

    As a threshold it gives exactly that TAR. If nothing can be accepted, it is above every score.
    Errors as `allowed`.
    """
    k = allowed(far, len(ranked.impostor))
    if k == len(ranked.impostor):
        return float(min(scores[0] for scores in ranked))
    refused = ranked.impostor[-1 - k]  # the highest impostor score that must be rejected
    above = _above(ranked, refused)
    return float(above.min() if len(above) else np.nextafter(refused, np.inf))


def _above(ranked: Ranked, score: float) -> Floats:
    """The next higher score of each kind, if there is one; shape (0 to 2,)."""
    return np.concatenate(
        [values[np.searchsorted(values, score, side="right") :][:1] for values in ranked]
    )


def resolved(fars: Sequence[float], impostors: int) -> tuple[float, ...]:
    """Keep those of `fars` that this number of impostor pairs can resolve."""
    return tuple(far for far in fars if 1.0 / impostors <= far <= 1.0)


def auc(ranked: Ranked) -> float:
    """Area under the ROC: the probability that a genuine pair outscores an impostor pair.

    Ties count half.
    """
    # Of each genuine score, count the impostor scores below it and those that equal it.
    below = np.searchsorted(ranked.impostor, ranked.genuine, side="left")
    ties = np.searchsorted(ranked.impostor, ranked.genuine, side="right") - below
    return float((below.sum() + ties.sum() / 2.0) / (len(ranked.genuine) * len(ranked.impostor)))


def eer(ranked: Ranked) -> float:
    """Equal error rate: where FAR = 1 - TAR, by linear interpolation of the ROC."""

    def gap(threshold: float) -> float:  # falls from 1 to -1 as the threshold rises
        return float(ranked.far(threshold) - (1.0 - ranked.tar(threshold)))

    def last(values: Floats) -> float:
        """The highest score with a gap of at least 0; the lowest score always has one."""
        return float(
            values[bisect_left(values, True, key=lambda threshold: gap(threshold) < 0.0) - 1]
        )

    # The last score at which FAR is still at least 1 - TAR, and the next score, where it is not.
    at = max(map(last, ranked))
    nexts = _above(ranked, at)
    far, low = float(ranked.far(at)), gap(at)
    if low == 0.0:
        return far
    # Above the highest score nothing is accepted: FAR 0, and a gap of 0 - 1.
    far_above, high = (
        (float(ranked.far(nexts.min())), gap(nexts.min())) if len(nexts) else (0.0, -1.0)
    )
    # Interpolate to the gap of zero between the two points.
    return far_above + high / (high - low) * (far - far_above)


def corners(ranked: Ranked) -> tuple[Floats, Floats]:
    """FAR and TAR at the corners of the ROC's staircase, one per genuine score.

    The first corner is (0, 0), the last is (1, 1).
    """
    thresholds = np.unique(ranked.genuine)[::-1]
    far = np.concatenate([[0.0], ranked.far(thresholds), [1.0]])
    tar = np.concatenate([[0.0], ranked.tar(thresholds), [1.0]])
    return far, tar


def _share(rising: Floats, threshold: ArrayLike) -> Floats:
    refused = np.searchsorted(rising, np.asarray(threshold, dtype=np.float64), side="left")
    return np.asarray((len(rising) - refused) / len(rising))
