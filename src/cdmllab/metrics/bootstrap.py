"""Intervals for verification measures, by resampling identities.

Pairs are not independent: ten pairs that share one easy person carry less information than ten
pairs of twenty people. So each replicate draws n of the n people with replacement. A person drawn w
times gives each of their genuine pairs the weight w; the weight of an impostor pair is the product
of its two people's weights. Every measure is recomputed with these weights, including the
thresholds of the folds.

This is the pigeonhole bootstrap (Owen, Annals of Applied Statistics 1, 2007) with the same people
as both factors. No bootstrap is exact here, and this one is slightly conservative (Owen and Eckles,
Annals of Applied Statistics 6, 2012). Fogliato, Patil and Perona (arXiv:2306.01198) compare it with
others for face verification. Drawing pairs instead gives intervals that are far too narrow if
people differ; the tests measure the coverage of both.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics import weighted
from cdmllab.metrics.ranked import allowed, check

Floats = NDArray[np.float64]
# From a generator and r to the weights of p pairs in r replicates, shape (r, p).
Draw = Callable[[np.random.Generator, int], Floats]

FEWEST_IDENTITIES = 10
_CELLS = 4_000_000  # replicates x pairs in memory at one time


class Interval(NamedTuple):
    """The percentile interval and the standard deviation of the replicates."""

    low: float
    high: float
    sd: float


def intervals(
    scores: ArrayLike,
    same: ArrayLike,
    fold: ArrayLike | None = None,
    *,
    identities: tuple[ArrayLike, ArrayLike] | None,
    fars: Sequence[float] = (),
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Bootstrap percentile intervals of verification measures, by name.

    The names are ``"auc"``, ``"eer"``, with folds ``"accuracy"``, and for each of `fars`
    ``"tar@<far>"``, ``"threshold@<far>"``, the score that is its threshold, and
    ``"nearest_tar@<far>"``, the TAR by the rule of `nearest_far`.

    Parameters
    ----------
    scores, same : shape (p,)
    fold : shape (p,); None omits the accuracy
    identities : the identity of the first and of the second image of each pair, each of shape
        (p,); None draws pairs instead, for comparison and for pairs of unknown people
    fars : where to measure the TAR
    replicates : number of draws
    confidence : share of replicates inside the interval, in (0, 1)
    seed : the same seed gives the same draws

    Raises
    ------
    ValueError : as `ranked.check` and `ranked.allowed`; identities that contradict `same`, or
        fewer than 10 of them
    """
    s, y = check(scores, same)
    for far in fars:
        allowed(far, int((~y).sum()))
    if replicates < 2 or not 0.0 < confidence < 1.0:
        raise ValueError(
            f"replicates must be 2 or more and confidence in (0, 1), got {replicates} and "
            f"{confidence}"
        )
    # Falling scores, in the order that `weighted` expects; ties keep the order of the list.
    order = np.argsort(-s, kind="stable")
    s, y = s[order], y[order]
    draw = _pairs(len(s)) if identities is None else _people(*identities, order, y)
    curve = weighted.WeightedCurve(s, y)
    folds = None if fold is None else weighted.Folds(s, y, np.asarray(fold)[order])
    # Draw in portions, so that memory depends on neither the pairs nor the replicates.
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[Floats]] = {}
    for part in _portions(replicates, max(1, _CELLS // len(s))):
        w = draw(rng, part)  # [part, p]
        values = curve.measures(w, fars)
        if folds is not None:
            values["accuracy"] = folds.accuracy(w)
        for name, value in values.items():
            drawn.setdefault(name, []).append(value)
    # Percentiles that leave equal tails on either side, such as 2.5 and 97.5.
    tails = [50.0 * (1.0 - confidence), 50.0 * (1.0 + confidence)]
    return {name: _interval(np.concatenate(parts), tails) for name, parts in drawn.items()}


def shares(
    hit: ArrayLike,
    identities: tuple[ArrayLike, ArrayLike],
    part: ArrayLike | None = None,
    *,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Percentile intervals of shares of pairs, such as a FAR or an error rate per bin.

    Parameters
    ----------
    hit : True for the pairs that the share counts, shape (p,)
    identities : as for `intervals`; a pair of one person is genuine
    part : the part that each pair belongs to, 0, 1, ...; shape (p,); None puts all in one part
    replicates, confidence, seed : as for `intervals`

    Returns
    -------
    One interval per part. Its width is zero if no pair of the part is a hit, or if all are:
    resampling cannot produce an event that was never observed.

    Raises
    ------
    ValueError : shapes that differ, fewer than 10 identities
    """
    h, (a, b) = np.asarray(hit, dtype=np.float64), (np.asarray(people) for people in identities)
    k = np.zeros(len(h), dtype=np.int64) if part is None else np.asarray(part)
    if h.ndim != 1 or any(x.shape != h.shape for x in (a, b, k)):
        shapes = [x.shape for x in (h, a, b, k)]
        raise ValueError(f"hit, identities and part must have the same shape (p,), got {shapes}")
    # Number the people 0 to n - 1, jointly for both sides; `both` holds first then second images.
    known, both = np.unique(np.concatenate([a, b]), return_inverse=True)
    n = len(known)
    if n < FEWEST_IDENTITIES:
        raise ValueError(_too_few(n))
    # Pairs of the same two people in the same part have equal weights: sum them up once.
    cells, cell_of = np.unique((k * n + both[: len(a)]) * n + both[len(a) :], return_inverse=True)
    cell_parts, one, other = cells // n**2, cells // n % n, cells % n
    total, hits = np.bincount(cell_of).astype(np.float64), np.bincount(cell_of, weights=h)
    # First cell of each part.
    starts = np.flatnonzero(np.append(True, cell_parts[1:] != cell_parts[:-1]))
    rng = np.random.default_rng(seed)
    shares_drawn = []
    for size in _portions(replicates, max(1, _CELLS // len(cell_parts))):
        drawn = rng.multinomial(n, np.full(n, 1.0 / n), size=size).astype(np.float64)
        # A genuine pair has one person, who counts once: w, not w squared.
        w = drawn[:, one] * np.where(one == other, 1.0, drawn[:, other])
        with np.errstate(invalid="ignore"):  # NaN if a draw has nobody of a part
            shares_drawn.append(
                np.add.reduceat(w * hits, starts, axis=1)
                / np.add.reduceat(w * total, starts, axis=1)
            )
    tails = [50.0 * (1.0 - confidence), 50.0 * (1.0 + confidence)]
    return [_interval(values, tails) for values in np.concatenate(shares_drawn).T]


def _too_few(people: int) -> str:
    return (
        f"an interval over identities needs at least {FEWEST_IDENTITIES} identities, got {people}"
    )


def _interval(values: Floats, tails: list[float]) -> Interval:
    low, high = np.nanpercentile(values, tails)  # NaN if a draw has one kind of pairs only
    return Interval(float(low), float(high), float(np.nanstd(values, ddof=1)))


def _portions(total: int, size: int) -> Iterator[int]:
    while total > 0:
        yield min(size, total)
        total -= size


def _people(
    first: ArrayLike, second: ArrayLike, order: NDArray[np.int64], same: NDArray[np.bool_]
) -> Draw:
    """Draw people, and weight the pairs in `order` by them."""
    # Both sides are sorted like the scores, to fall in line with `same`.
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != same.shape or b.shape != same.shape:
        raise ValueError(f"identities must have shape {same.shape}, got {a.shape} and {b.shape}")
    a, b = a[order], b[order]
    # Equal identities must mean a genuine pair; the
    # error names the first contradiction in the list.
    wrong = np.flatnonzero((a == b) != same)
    if len(wrong):
        k = int(wrong[order[wrong].argmin()])  # position in falling order
        kind = "genuine" if same[k] else "impostor"
        raise ValueError(f"pair {order[k]} is {kind}, but its identities are {a[k]} and {b[k]}")
    known, both = np.unique(np.concatenate([a, b]), return_inverse=True)
    n = len(known)
    if n < FEWEST_IDENTITIES:
        raise ValueError(_too_few(n))
    one, other = both[: len(a)], both[len(a) :]

    def draw(rng: np.random.Generator, replicates: int) -> Floats:
        drawn = rng.multinomial(n, np.full(n, 1.0 / n), size=replicates).astype(np.float64)
        return drawn[:, one] * np.where(same, 1.0, drawn[:, other])

    return draw


def _pairs(count: int) -> Draw:
    """Draw pairs."""

    def draw(rng: np.random.Generator, replicates: int) -> Floats:
        # Draw pair numbers, then shift each replicate
        # into a range of its own: one bincount for all.
        drawn = rng.integers(0, count, size=(replicates, count))
        drawn += np.arange(replicates)[:, None] * count
        return (
            np.bincount(drawn.ravel(), minlength=replicates * count)
            .reshape(replicates, count)
            .astype(np.float64)
        )

    return draw
