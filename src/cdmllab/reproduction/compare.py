"""Compare our accuracy with the published one: standard errors, adjusted p, and a verdict."""

from collections.abc import Mapping, Sequence
from math import erfc, sqrt
from typing import NamedTuple

from cdmllab.evaluate.measures import Accuracy
from cdmllab.metrics.multiple import holm
from cdmllab.reproduction.rows import ReproducibleRow

FOLDS = 10
LEVEL = 0.05


class Compared(NamedTuple):
    """The comparison on one protocol; accuracies are in percent."""

    protocol: str
    published: float
    published_se: float
    ours: float
    ours_se: float
    adjusted_p: float  # two-sided, by Holm's method over the row's protocols

    @property
    def difference(self) -> float:
        """Our accuracy minus the published one, in percentage points."""
        return self.ours - self.published

    @property
    def errors(self) -> float:
        """The difference in units of its standard error."""
        return self.difference / sqrt(self.ours_se**2 + self.published_se**2)


def compare(row: ReproducibleRow, measured: Mapping[str, Accuracy]) -> tuple[Compared, ...]:
    """Compare our accuracy with the published one on each protocol.

    Our standard error is that over folds. The published one depends on what the source prints
    after the +-. A spread over folds, which is also assumed if the source does not say, is divided
    by the square root of ten. A spread over seeds is kept, since ours is a single seed. Without a
    +- it is the binomial standard error of the pairs. A standard error of zero, which a network
    without a mistake gives, is replaced by that of half a wrong pair.
    """
    rows = []
    for protocol, value in row.published.items():
        accuracy = measured[protocol]
        ours = 100.0 * accuracy.value
        own = max(
            100.0 * accuracy.std_over_folds / sqrt(len(accuracy.per_fold)),
            _least(row.pairs[protocol]),
        )
        rows.append((protocol, value, published_se(row, protocol), ours, own))
    # Two-sided p-values under a normal law, adjusted together.
    p = holm([erfc(abs(o - v) / sqrt(a * a + b * b) / sqrt(2.0)) for _, v, a, o, b in rows])
    return tuple(Compared(*one, float(q)) for one, q in zip(rows, p, strict=True))


def published_se(row: ReproducibleRow, protocol: str) -> float:
    """The standard error of a published accuracy, in percent; see `compare`."""
    least = _least(row.pairs[protocol])
    if protocol in row.spread:
        if row.spread_is == "seeds":  # our single training, compared with a mean over several
            return max(row.spread[protocol] * sqrt(1.0 + 1.0 / row.seeds), least)
        return max(row.spread[protocol] / sqrt(FOLDS), least)
    share = row.published[protocol] / 100.0
    return max(100.0 * sqrt(share * (1.0 - share) / row.pairs[protocol]), least)


def verdict(compared: Sequence[Compared]) -> str:
    """The outcome of the comparison, in one or two sentences."""
    # Significant differences only; the largest one is named in any case.
    apart = [one for one in compared if one.adjusted_p <= LEVEL]
    largest = max(compared, key=lambda one: abs(one.errors))
    most = f"{_points(largest)} on {largest.protocol}, {abs(largest.errors):.1f} standard errors"
    if not apart:
        return (
            f"Reproduced within the errors: no protocol differs from the published number by more "
            f"than chance explains "
            f"(the largest difference: {most}). One training cannot show that both are equal."
        )
    lower, higher = (  # True: ours is lower
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
    """Format the comparison as a table."""
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
