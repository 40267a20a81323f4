"""Statistics of paired differences: intervals, families of tests, equivalence and power."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cdmllab.errors import optional
from cdmllab.metrics.multiple import holm

Floats = NDArray[np.float64]
Name = TypeVar("Name")

_MOST_PAIRS = 100_000  # where the search for a number of pairs gives up


class Difference(NamedTuple):
    """The mean of paired differences, its interval, and the difference that n pairs can detect."""

    mean: float
    low: float  # of the confidence interval
    high: float
    sd: float  # of one difference
    n: int
    detectable: float  # the smallest true difference that n pairs detect with 80 % power
    p: float  # two-sided
    # Adjusted for the family of tests, see `family`; None for a single test.
    p_family: float | None = None

    @property
    def verdict(self) -> Literal["higher", "lower", "not distinguishable"]:
        """The side of zero, at 5 %: by the interval of a single test, by `p_family` in a family."""
        if self.p_family is None:
            return "higher" if self.low > 0 else "lower" if self.high < 0 else "not distinguishable"
        if self.p_family > 0.05:
            return "not distinguishable"
        return "higher" if self.mean > 0 else "lower"

    def within(self, bound: float) -> "Equivalence":
        """Test whether the true difference lies within +- `bound`, by two one-sided t-tests.

        Their joint p-value is below 5 % if the 90 % interval lies between -bound and bound
        (Schuirmann, 1987, https://doi.org/10.1007/BF01068419).

        Raises
        ------
        ValueError : `bound` is not above 0
        """
        if not bound > 0.0:
            raise ValueError(f"the smallest effect of interest must be above 0, got {bound!r}")
        from scipy import stats

        # Standard error and degrees of freedom.
        error, degrees = self.sd / math.sqrt(self.n), self.n - 1
        half = float(stats.t.ppf(0.95, degrees)) * error
        # Distance to the nearer bound; negative beyond it.
        nearest = bound - abs(self.mean)
        p = float(stats.t.sf(nearest / error, degrees)) if error > 0 else float(nearest <= 0)
        return Equivalence(bound, self.mean - half, self.mean + half, p, self.verdict)

    def format(self, unit: str = "", scale: float = 100.0) -> str:
        """The mean and its interval as text: ``+0.12 [-0.30, +0.54] points``."""
        # Adding 0.0 turns -0.0 into 0.0, which would print as -0.00.
        mean, low, high = (
            round(scale * value, 2) + 0.0 for value in (self.mean, self.low, self.high)
        )
        numbers = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
        return f"{numbers} {unit}".strip()


class Equivalence(NamedTuple):
    """A paired difference against the smallest effect of interest."""

    bound: float  # the smallest effect of interest, either way
    low: float  # of the 90 % interval
    high: float
    p: float  # of the two one-sided tests together
    direction: Literal["higher", "lower", "not distinguishable"]

    @property
    def verdict(self) -> Literal["different", "too small to matter", "equivalent", "inconclusive"]:
        """The answer to two questions: is there a difference, is it smaller than the bound.

        ``"too small to matter"`` is yes to both, ``"inconclusive"`` is yes to neither.
        """
        if self.direction == "not distinguishable":
            return "equivalent" if self.p < 0.05 else "inconclusive"
        return "too small to matter" if self.p < 0.05 else "different"


def pairs_for_equivalence(sd: float, bound: float, power: float = 0.8) -> int:
    """The number of pairs that shows equivalence within `bound`, if there is no difference.

    The rule is that of Phillips (1990, https://doi.org/10.1007/BF01063556) with Student's t. For a
    true difference of 0, beta is split equally between the two one-sided tests.

    Parameters
    ----------
    sd : of one paired difference, for example from a pilot
    bound : the smallest effect of interest, in the unit of `sd`
    power : probability of showing it, in (0, 1)

    Raises
    ------
    ValueError : a value out of range, or no number of pairs below 100,000 is enough
    """
    if not (sd >= 0.0 and bound > 0.0 and 0.0 < power < 1.0):
        raise ValueError(
            f"sd must be 0 or more, bound above 0 and power in (0, 1); got {sd}, {bound}, {power}"
        )
    from scipy import stats

    # There is no closed form, since Student's t depends on n: try one number after the other.
    n = 2
    while n < _MOST_PAIRS:
        reach = (
            bound * math.sqrt(n) / sd - float(stats.t.ppf(0.95, n - 1)) if sd > 0.0 else math.inf
        )
        # Probability that both one-sided tests reject, if the true difference is 0.
        if 2.0 * float(stats.t.cdf(reach, n - 1)) - 1.0 >= power:
            return n
        n += 1
    raise ValueError(
        f"no number of pairs below {n:,} shows equivalence within {bound:g} at a spread of {sd:g}"
    )


def paired(one: Floats, other: Floats, confidence: float = 0.95, power: float = 0.8) -> Difference:
    """Compare values pair by pair, by Student's t: the mean of one - other with its interval.

    Parameters
    ----------
    one, other : shape (n,), n of 2 or more; the values of a pair differ only in what is compared
    confidence : of the interval, in (0, 1)
    power : of the detectable difference, in (0, 1)

    Raises
    ------
    ValueError : fewer than two pairs, or shapes that differ
    """
    if one.shape != other.shape or one.ndim != 1 or len(one) < 2:
        raise ValueError(
            f"pairs need two values or more on both sides, got {one.shape} and {other.shape}"
        )
    with optional("analysis", "a paired comparison"):
        # Imported here because it takes seconds and a running sweep does not need it.
        from scipy import optimize, stats

    d, n = one - other, len(one)
    sd = float(d.std(ddof=1))
    error = sd / math.sqrt(n)
    t = float(stats.t.ppf(0.5 + confidence / 2, n - 1))
    # Identical pairs have no spread: the difference is certain, or there is none.
    p = float(2 * stats.t.sf(abs(d.mean()) / error, n - 1)) if error > 0 else float(d.mean() == 0)
    # The noncentrality, in standard errors, at which the t-test has the wanted power.
    shift = optimize.brentq(lambda nc: stats.nct.sf(t, n - 1, nc) - power, 0.0, 100.0 * t)
    detectable = float(shift) * error
    return Difference(
        float(d.mean()),
        float(d.mean()) - t * error,
        float(d.mean()) + t * error,
        sd,
        n,
        detectable,
        p,
    )


def family(differences: Mapping[Name, Difference]) -> dict[Name, Difference]:
    """Adjust the p-values of differences that are read together, by Holm's method.

    This is the book's rule for multiple comparisons: the differences in a table or a figure are a
    family, and the adjusted p-value decides the verdict. Their intervals stay those of single
    tests. Two arms with bit-identical values do not count as a test.
    """
    # Bit-identical arms are no test, and would only make the family larger.
    tested = {name: d.p for name, d in differences.items() if d.sd > 0 or d.mean != 0}
    adjusted = (
        dict(zip(tested, holm(list(tested.values())).tolist(), strict=True)) if tested else {}
    )
    return {name: d._replace(p_family=adjusted.get(name, 1.0)) for name, d in differences.items()}
