"""From scores to decisions: thresholds, error rates with intervals, and probabilities.

Choose a threshold on one set of pairs and evaluate it on another: on its own set it looks better
than it is.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.metrics import bootstrap
from cdmllab.metrics.ranked import allowed, check, rank

Floats = NDArray[np.float64]
People = tuple[ArrayLike, ArrayLike]
"""The identity of the first and of the second image of each pair, each of shape (p,)."""


class Rate(NamedTuple):
    """A share of pairs with a confidence interval."""

    value: float
    low: float
    high: float
    pairs: int  # the number of pairs


class Decision(NamedTuple):
    """FAR and TAR at a threshold."""

    threshold: float
    far: Rate
    tar: Rate


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Rate:
    """A share with Wilson's score interval (JASA 22, 1927).

    Unlike the normal approximation it has a width even for 0 of n. It assumes independent trials.
    Pairs that share people are not independent, so for them it is a lower bound of the width;
    `rates` resamples people.

    Examples
    --------
    >>> share = wilson(95, 100)
    >>> print(f"{share.value:.2f} [{share.low:.3f}, {share.high:.3f}]")
    0.95 [0.888, 0.978]
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"successes must lie between 0 and trials, got {successes} of {trials}")
    # The squared normal quantile; 3.84 for a confidence of 95 %.
    z2 = NormalDist().inv_cdf(0.5 + _confidence(confidence) / 2.0) ** 2
    p = successes / trials
    middle = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = (z2 * (p * (1 - p) / trials + z2 / (4 * trials**2))) ** 0.5 / (1 + z2 / trials)
    # For no hits the lower end is exactly 0, for all hits the upper is 1: the formula would round.
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == trials else middle + half
    return Rate(p, low, high, trials)


def rates(
    hit: ArrayLike,
    part: ArrayLike,
    people: People | None,
    *,
    confidence: float = 0.95,
    replicates: int = 1000,
) -> list[Rate]:
    """The share of hits in each part of some pairs, with an interval over people.

    The interval resamples people, not pairs (`bootstrap.shares`). Resampling gives a width of zero
    if no pair is a hit, or if all are, so the interval is never narrower than `wilson`'s, which is
    valid if all pairs are of different people.

    Parameters
    ----------
    hit : True for the pairs that count, shape (p,)
    part : the part that each pair belongs to, 0, 1, ...; shape (p,); every part has a pair
    people : the identities in each pair; None, or fewer than 10 people, gives `wilson`'s interval,
        which is too narrow then
    """
    h, k = np.asarray(hit).astype(bool), np.asarray(part)
    plain = [wilson(int(h[k == n].sum()), int((k == n).sum()), confidence) for n in np.unique(k)]
    # Too few people to resample: only the interval that assumes independent pairs is left.
    if people is None or len(np.unique(np.concatenate(people))) < bootstrap.FEWEST_IDENTITIES:
        return plain
    drawn = bootstrap.shares(h, people, k, replicates=replicates, confidence=confidence)
    return [
        rate._replace(low=min(rate.low, interval.low), high=max(rate.high, interval.high))
        for rate, interval in zip(plain, drawn, strict=True)
    ]


def threshold_at_far(scores: ArrayLike, same: ArrayLike, far: float) -> float:
    """The threshold with a given FAR, half-way between two impostor scores.

    They are the lowest score that is accepted and the highest that is rejected. Call it on
    validation pairs, then `decide` on test pairs.

    Raises
    ------
    ValueError : a FAR that these pairs cannot resolve, NaN scores, no or only one kind of pairs

    Examples
    --------
    >>> threshold_at_far([0.9, 0.7, 0.5, 0.25], [True, True, False, False], far=0.5)
    0.375
    """
    i = rank(scores, same).impostor
    k = allowed(far, len(i))
    if k == len(i):  # everything may be accepted
        return float(i[0])
    # The highest impostor score that must be rejected, and the next higher one, if any.
    refused = i[len(i) - 1 - k]
    above = i[np.searchsorted(i, refused, side="right") :][:1]
    if len(above) == 0:  # the highest impostors tie: accepting one of them would accept too many
        return float(np.nextafter(refused, np.inf))
    # Two neighbouring floats have no value between them, and their mean may round to the lower one.
    between = (refused + above[0]) / 2.0
    return float(between if between > refused else above[0])


def decide(
    scores: ArrayLike,
    same: ArrayLike,
    threshold: float,
    confidence: float = 0.95,
    *,
    people: People | None = None,
) -> Decision:
    """FAR and TAR at a threshold that was chosen on other pairs, with the intervals of `rates`.

    Errors as `ranked.check`.
    """
    s, y = check(scores, same)
    return Decision(float(threshold), *rates(s >= threshold, y, people, confidence=confidence))


class Calibrator(NamedTuple):
    """An affine map from scores to log likelihood ratios.

    log P(score | genuine) - log P(score | impostor) = slope x score + offset.
    """

    slope: float
    offset: float

    def log_likelihood_ratio(self, scores: ArrayLike) -> Floats:
        """The natural logarithm of the likelihood ratio; above 0 favours a genuine pair.

        It does not depend on the share of genuine pairs.
        """
        return self.slope * np.asarray(scores, dtype=np.float64) + self.offset

    def probability(self, scores: ArrayLike, prior: float = 0.5) -> Floats:
        """The probability that a pair is genuine if a share `prior` of all pairs is."""
        if not 0.0 < prior < 1.0:
            raise ValueError(f"prior must lie strictly between 0 and 1, got {prior}")
        return _sigmoid(self.log_likelihood_ratio(scores) + np.log(prior / (1.0 - prior)))


def fit_calibrator(scores: ArrayLike, same: ArrayLike, iterations: int = 100) -> Calibrator:
    """Fit a `Calibrator` by logistic regression that weights both kinds of pairs equally.

    Newton's method on standardised scores, with a penalty of a hundredth of a pair on the slope,
    which would be infinite for perfectly separated scores (van Leeuwen and Brümmer, LNCS 4343,
    2007).

    Raises
    ------
    ValueError : NaN scores, no or only one kind of pairs, scores that are all the same
    """
    # Standardised scores and a column of ones: the penalty and the steps then fit every scale.
    s, y = check(scores, same)
    centre, spread = float(s.mean()), float(s.std())
    if spread == 0.0:
        raise ValueError(f"all {len(s):,} scores are {s[0]:g}: they cannot be calibrated")
    x = np.stack([(s - centre) / spread, np.ones_like(s)], axis=1)
    # Each kind has half of the weight, which makes the fitted log odds a likelihood ratio.
    weight = np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum())
    penalty = np.array([0.01 / len(s), 0.0])  # none on the offset
    w = np.zeros(2)
    for _ in range(iterations):
        p = _sigmoid(x @ w)  # [p]
        gradient = x.T @ (weight * (p - y)) + penalty * w
        # [2, 2], the Hessian
        curvature = (x * (weight * p * (1.0 - p))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        # A shortened step keeps Newton's method from overshooting where the sigmoid is flat.
        longest = float(np.abs(step).max())
        w = w - step / max(1.0, longest / 4.0)
        if longest < 1e-10:
            break
    # Undo the standardisation, so that the map applies to raw scores.
    slope = float(w[0]) / spread
    return Calibrator(slope, float(w[1]) - slope * centre)


class Reliability(NamedTuple):
    """Stated and observed probabilities, by bin of pairs."""

    stated: Floats  # [k] mean probability in each bin
    observed: Floats  # [k] share of genuine pairs
    low: Floats  # [k] interval of `observed`
    high: Floats  # [k]
    pairs: NDArray[np.int64]  # [k]
    error: float  # expected calibration error: mean |stated - observed|, weighted by pairs


def reliability(
    probability: ArrayLike, same: ArrayLike, bins: int = 10, *, people: People | None = None
) -> Reliability:
    """Compare stated probabilities with observed shares, in bins with equal numbers of pairs.

    Intervals as `rates`.

    Raises
    ------
    ValueError : as `ranked.check`; a probability outside [0, 1], or fewer pairs than bins
    """
    p, y = check(probability, same)
    if p.min() < 0.0 or p.max() > 1.0:
        raise ValueError(f"probabilities lie in [0, 1], got {p.min():g} to {p.max():g}")
    if not 1 <= bins <= len(p):
        raise ValueError(f"{len(p):,} pairs cannot fill {bins} bins")
    parts = np.array_split(np.argsort(p, kind="stable"), bins)
    bin_of = np.empty(len(p), dtype=np.int64)
    for k, rows in enumerate(parts):
        bin_of[rows] = k
    # `bin_of` numbers the bins 0 to k - 1, and none is empty, so `rates` returns one rate per bin.
    stated = np.array([p[rows].mean() for rows in parts])
    observed, low, high, pairs = map(np.array, zip(*rates(y, bin_of, people), strict=True))
    error = float(np.average(np.abs(stated - observed), weights=pairs))
    return Reliability(stated, observed, low, high, pairs, error)


def _confidence(value: float) -> float:
    if not 0.0 < value < 1.0:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {value}")
    return value


def _sigmoid(x: Floats) -> Floats:
    # The hyperbolic tangent saturates where exp(-x) would overflow.
    return 0.5 * (1.0 + np.tanh(0.5 * x))
