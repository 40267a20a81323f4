"""Error against discard: what a quality score of images is worth for verification.

Pairs of the lowest quality are discarded, a growing share of them, and the error of the others is
measured. A quality that knows which pairs fail lowers the error; one that knows nothing leaves it
where it was. The quality of a pair is the lower of those of its two images, see `pair_quality`.

Two rules exist for the threshold. ``"fixed"`` chooses it once, on all pairs, as in Grother and
Tabassi (IEEE PAMI 29, 2007) and ISO/IEC 29794-1: a system keeps its threshold when it refuses
images. ``"repicked"`` chooses it anew among the pairs that are left, as MagFace's script_ does and
CR-FIQA's after it (in a function named ``getFNMRFixedTH``). Curves of the two rules cannot be
compared: where impostor pairs of low quality score high, discarding them lowers the threshold too.

Pairs of equal quality are kept or discarded together, so no curve depends on the order of the
list: of n pairs at most ``rate * n`` are discarded, and fewer if the next ones tie.

.. _script: https://github.com/IrvingMeng/MagFace/blob/main/eval/eval_quality/eval_quality.py
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics.ranked import allowed, check
from cdmllab.metrics.verification import best_threshold

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Threshold = Literal["fixed", "repicked"]
ShareOf = Literal["all", "genuine"]

RATES = tuple(k / 20 for k in range(20))
"""Shares to discard, 0 to 0.95 in steps of 0.05, those of MagFace's script."""


class DiscardCurve(NamedTuple):
    """An error or accuracy of the pairs that are left, by the share that is discarded."""

    rate: Floats  # [k] share to discard, ascending
    value: Floats  # [k] FNMR or accuracy of the pairs that are left
    threshold: Floats  # [k] pairs are accepted from this score on
    left: Ints  # [k] number of pairs left
    fmr: Floats  # [k] share of the impostor pairs left that are accepted; NaN without any


def pair_quality(first: ArrayLike, second: ArrayLike) -> Floats:
    """The quality of pairs, the lower of the qualities of both images; shapes (p,), (p,) to (p,).

    Raises
    ------
    ValueError : other shapes, or NaN

    Examples
    --------
    >>> pair_quality([0.9, 0.4], [0.7, 0.8])
    array([0.7, 0.4])
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"first and second must both have shape (p,), got {a.shape} and {b.shape}")
    return _without_nan(np.minimum(a, b))


def fnmr(
    scores: ArrayLike,
    same: ArrayLike,
    quality: ArrayLike,
    *,
    fmr: float,
    threshold: Threshold = "fixed",
    share_of: ShareOf = "all",
    rates: Sequence[float] = RATES,
) -> DiscardCurve:
    """False non-match rate against discard: the share of the genuine pairs left that are rejected.

    Parameters
    ----------
    scores, same : shape (p,), as for `verification.roc`
    quality : of each pair, shape (p,), higher is better
    fmr : the false match rate that the threshold may not exceed, in (0, 1]
    threshold : ``"fixed"`` chooses it on all pairs, ``"repicked"`` on the pairs that are left
    share_of : the pairs that `rates` are shares of and that are discarded: ``"all"``, as in
        MagFace's script, or only the ``"genuine"`` ones, as in ISO/IEC 29794-1, which needs a
        fixed threshold
    rates : shares to discard, ascending, in [0, 1)

    Raises
    ------
    ValueError : as `ranked.check`; NaN or another shape of the quality; rates that do not ascend;
        an FMR that the impostor pairs cannot resolve, on all or among those that are left; no
        genuine pair left

    Examples
    --------
    The worst pair fails, and the quality knows it:

    >>> scores, same = [0.9, 0.8, 0.1, 0.3, 0.2], [True, True, True, False, False]
    >>> fnmr(scores, same, [3, 2, 1, 5, 4], fmr=0.5, rates=[0.0, 0.2]).value
    array([0.33333333, 0.        ])
    """
    s, y, q = checked(scores, same, quality)
    r = checked_rates(rates)
    _choices(threshold, share_of)
    allowed(fmr, int((~y).sum()))
    ones = np.ones(len(s))
    worst_first, impostors = rising(q, y, share_of), falling(s, y)
    fixed = highest_refused(s, impostors, ones, fmr)
    values, thresholds, left, matched = [], [], [], []
    for rate in r:
        kept = kept_pairs(q, worst_first, ones, rate)
        if not (kept & y).any():
            raise ValueError(f"at a discard rate of {rate:g} no genuine pair is left")
        refused = fixed
        if threshold == "repicked":
            _resolved(fmr, kept, y, rate)
            refused = highest_refused(s, impostors, ones * kept, fmr)
        values.append(float((s[kept & y] <= refused).mean()))
        thresholds.append(float(np.nextafter(refused, np.inf)))
        left.append(int(kept.sum()))
        matched.append(_share(s[kept & ~y] > refused))
    return DiscardCurve(r, *map(np.array, (values, thresholds, left, matched)))


def accuracy(
    scores: ArrayLike,
    same: ArrayLike,
    quality: ArrayLike,
    *,
    threshold: Threshold = "fixed",
    rates: Sequence[float] = RATES,
) -> DiscardCurve:
    """Share of the pairs left that are judged correctly, against the share of all discarded.

    The threshold is the most accurate one, on all pairs or on those that are left, see
    `verification.best_threshold`. Without folds the accuracy is a little optimistic.

    Parameters
    ----------
    scores, same, quality, threshold, rates : as for `fnmr`

    Raises
    ------
    ValueError : as `fnmr`; only genuine or only impostor pairs left
    """
    s, y, q = checked(scores, same, quality)
    r = checked_rates(rates)
    _choices(threshold, "all")
    worst_first = rising(q, y, "all")
    fixed = best_threshold(s, y)
    values, thresholds, left, matched = [], [], [], []
    for rate in r:
        kept = kept_pairs(q, worst_first, np.ones(len(s)), rate)
        at = fixed
        if threshold == "repicked":
            if y[kept].all() or not y[kept].any():
                raise ValueError(
                    f"at a discard rate of {rate:g} all {kept.sum():,} pairs left are of one kind"
                )
            at = best_threshold(s[kept], y[kept])
        values.append(float(((s >= at) == y)[kept].mean()))
        thresholds.append(at)
        left.append(int(kept.sum()))
        matched.append(_share(s[kept & ~y] >= at))
    return DiscardCurve(r, *map(np.array, (values, thresholds, left, matched)))


def falling(s: Floats, y: Bools) -> Ints:
    """The impostor pairs in the order of falling scores."""
    impostors = np.flatnonzero(~y)
    return impostors[np.argsort(-s[impostors], kind="stable")]


def rising(q: Floats, y: Bools, share_of: ShareOf) -> Ints:
    """The pairs that may be discarded, in the order of rising qualities."""
    candidates = np.flatnonzero(y) if share_of == "genuine" else np.arange(len(y))
    return candidates[np.argsort(q[candidates], kind="stable")]


def highest_refused(s: Floats, order: Ints, weight: Floats, fmr: float) -> float:
    """The highest score that must be rejected for the FMR of weighted pairs to stay within `fmr`.

    The weight of a tie counts as a whole, as all of it would be accepted. -inf if all may be.
    """
    impostor, w = s[order], weight[order]
    last_of_tie = np.append(impostor[1:] != impostor[:-1], True)
    accepted = np.cumsum(w)[last_of_tie]  # by accepting all scores down to this one
    # The factor keeps rounding from losing a pair, as in `ranked.allowed`.
    too_many = np.flatnonzero(accepted > fmr * w.sum() * (1.0 + 1e-12))
    return float(impostor[last_of_tie][too_many[0]]) if len(too_many) else -np.inf


def kept_pairs(q: Floats, order: Ints, weight: Floats, rate: float) -> Bools:
    """The mask of the pairs that are left, shape (p,), for a weight of each pair."""
    quality, w = q[order], weight[order]
    last_of_tie = np.append(quality[1:] != quality[:-1], True)
    discarded = np.cumsum(w)[last_of_tie]  # by discarding all qualities up to this one
    within = np.count_nonzero(discarded <= rate * w.sum() * (1.0 + 1e-12))
    kept = np.ones(len(q), dtype=bool)
    if within:
        # Up to the last pair of the last quality that goes completely.
        kept[order[: np.flatnonzero(last_of_tie)[within - 1] + 1]] = False
    return kept


def _share(hits: Bools) -> float:
    return float(hits.mean()) if len(hits) else np.nan


def _resolved(fmr: float, kept: Bools, y: Bools, rate: float) -> None:
    impostors = int((kept & ~y).sum())
    if not impostors:
        raise ValueError(f"at a discard rate of {rate:g} no impostor pair is left")
    try:
        allowed(fmr, impostors)
    except ValueError as error:
        raise ValueError(f"at a discard rate of {rate:g}, {error}") from error


def checked(scores: ArrayLike, same: ArrayLike, quality: ArrayLike) -> tuple[Floats, Bools, Floats]:
    """Convert scores, labels and qualities to arrays; errors as `fnmr`."""
    s, y = check(scores, same)
    q = np.asarray(quality, dtype=np.float64)
    if q.shape != s.shape:
        raise ValueError(f"quality must have shape {s.shape}, got {q.shape}")
    return s, y, _without_nan(q)


def _without_nan(quality: Floats) -> Floats:
    bad = np.flatnonzero(np.isnan(quality))
    if len(bad):
        raise ValueError(f"the quality of pair {int(bad[0])} is NaN")
    return quality


def checked_rates(rates: Sequence[float]) -> Floats:
    """Convert rates to an array; errors as `fnmr`."""
    r = np.asarray(rates, dtype=np.float64)
    if r.ndim != 1 or not len(r) or not ((r >= 0.0) & (r < 1.0)).all() or (np.diff(r) <= 0.0).any():
        raise ValueError(f"rates must ascend within [0, 1), got {list(rates)}")
    return r


def _choices(threshold: str, share_of: str) -> None:
    if threshold not in get_args(Threshold):
        raise ValueError(f"threshold must be 'fixed' or 'repicked', got {threshold!r}")
    if share_of not in get_args(ShareOf):
        raise ValueError(f"share_of must be 'all' or 'genuine', got {share_of!r}")
    if share_of == "genuine" and threshold == "repicked":
        raise ValueError(
            "share_of='genuine' discards no impostor pair, so there is no threshold to repick: "
            "use threshold='fixed'"
        )
