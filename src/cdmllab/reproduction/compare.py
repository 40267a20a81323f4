"""Ours next to the published number, with the standard error of each, and a verdict in words."""

from collections.abc import Mapping, Sequence
from math import erfc, sqrt
from typing import NamedTuple

from cdmllab.evaluate.measures import Accuracy
from cdmllab.metrics.multiple import holm
from cdmllab.reproduction.rows import ReproducibleRow

FOLDS = 10
LEVEL = 0.05


class Compared(NamedTuple):
    """One protocol; all in percent."""

    protocol: str
    published: float
    published_se: float
    ours: float
    ours_se: float
    adjusted_p: float  # two-sided, by Holm's method over the row's protocols

    @property
    def difference(self) -> float:
        """Ours minus the published."""
        return self.ours - self.published

    @property
    def errors(self) -> float:
        """The difference in standard errors of it."""
        return self.difference / sqrt(self.ours_se**2 + self.published_se**2)


def compare(row: ReproducibleRow, measured: Mapping[str, Accuracy]) -> tuple[Compared, ...]:
    """Every published protocol next to our accuracy on it, as `cdmllab.evaluate` gives it.

    The standard error of ours is that over the folds. That of the published number is its +- over
    the root of ten where the source gives one and calls it, or seems to mean, the spread over
    folds; over seeds it is the spread itself, for ours is one seed. Without a +- it is the
    binomial one of its pairs. Errors of zero, which a network without a mistake gives, are replaced
    by that of half a wrong pair.
    """
    found = []
    for protocol, value in row.published.items():
        accuracy = measured[protocol]
        ours = 100.0 * accuracy.value
        own = max(
            100.0 * accuracy.std_over_folds / sqrt(len(accuracy.per_fold)),
            _least(row.pairs[protocol]),
        )
        found.append((protocol, value, published_se(row, protocol), ours, own))
    p = holm([erfc(abs(o - v) / sqrt(a * a + b * b) / sqrt(2.0)) for _, v, a, o, b in found])
    return tuple(Compared(*one, float(q)) for one, q in zip(found, p, strict=True))


def published_se(row: ReproducibleRow, protocol: str) -> float:
    """The standard error of a published accuracy, in percent; see `compare`."""
    least = _least(row.pairs[protocol])
    if protocol in row.spread:
        if row.spread_is == "seeds":  # a single training of ours, against the mean of some
            return max(row.spread[protocol] * sqrt(1.0 + 1.0 / row.seeds), least)
        return max(row.spread[protocol] / sqrt(FOLDS), least)
    share = row.published[protocol] / 100.0
    return max(100.0 * sqrt(share * (1.0 - share) / row.pairs[protocol]), least)


def verdict(compared: Sequence[Compared]) -> str:
    """What the comparison says, in a sentence or two."""
    apart = [one for one in compared if one.adjusted_p <= LEVEL]
    largest = max(compared, key=lambda one: abs(one.errors))
    most = f"{_points(largest)} on {largest.protocol}, {abs(largest.errors):.1f} standard errors"
    if not apart:
        return (
            f"Reproduced within the errors: no protocol differs from the published number by more "
            f"than chance explains "
            f"(the largest difference: {most}). One training cannot show that the two are equal."
        )
    lower, higher = (
        [one for one in apart if (one.difference < 0) is sign] for sign in (True, False)
    )
    parts = [
        f"ours is {word} on {', '.join(f'{one.protocol} ({_points(one)})' for one in some)}"
        for word, some in (("lower", lower), ("higher", higher))
        if some
    ]
    same = len(compared) - len(apart)
    rest = f"; {same} of {len(compared)} protocols do not differ" if same else ""
    return (
        f"{'Not reproduced' if lower else 'Above the published numbers'}: "
        f"{' and '.join(parts)}{rest} "
        f"(Holm's adjusted p at most {LEVEL:g}). The known deviations are listed below; another "
        f"seed may move ours too."
    )


def lines(compared: Sequence[Compared]) -> list[str]:
    """A table as lines of text."""
    head = f"{'protocol':12} {'published':>16} {'ours':>16} {'difference':>11} {'in s.e.':>8}"
    return [
        head,
        *(
            f"{c.protocol:12} {c.published:8.2f} ± {c.published_se:5.2f} {c.ours:8.2f} ± "
            f"{c.ours_se:5.2f} "
            f"{c.difference:+11.2f} {c.errors:+8.1f}"
            for c in compared
        ),
    ]


def _points(one: Compared) -> str:
    return f"{one.difference:+.2f} points"


def _least(pairs: int) -> float:
    return 100.0 * 0.5 / pairs
