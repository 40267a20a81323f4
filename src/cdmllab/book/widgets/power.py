"""What an experiment with n seeds can see of a difference, and which verdict it will give."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import traitlets
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from cdmllab.book.widgets.base import Widget
from cdmllab.results.paired import Difference, Equivalence, paired

Floats = NDArray[np.float64]
POINTS = 100.0  # of a share
NODES = 64  # for each part of the integral over the observed spread
SETTINGS = ("effect", "sd", "seeds", "bound")
EXAMPLES = [
    {"label": "three seeds", "effect": 0.2, "sd": 0.3, "seeds": 3, "bound": 0.2},
    {"label": "certain but small", "effect": 0.08, "sd": 0.1, "seeds": 20, "bound": 0.2},
    {"label": "no difference", "effect": 0.0, "sd": 0.1, "seeds": 12, "bound": 0.2},
]


class Verdicts(NamedTuple):
    """Probabilities of the verdicts of `Equivalence.verdict`; their sum is 1."""

    different: float
    small: float  # too small to matter
    equivalent: float
    inconclusive: float


class Power(Widget):
    """The verdicts that an experiment over seeds will give, if the true difference were known.

    The differences of single seeds are drawn from a normal distribution. They are compared as in
    `cdmllab.results.paired`: Student's 95 % interval, and two one-sided tests against the smallest
    effect of interest. All differences are in points, hundredths of a share.

    Parameters
    ----------
    effect : the true difference, points, in [0, 2]; by symmetry its sign makes no difference
    sd : spread of one paired difference over seeds, points, in [0.01, 1.5]
    seeds : number of pairs, in [2, 100]
    bound : the smallest effect of interest, points, in [0.02, 1]
    draw : number of the drawn experiment; 0 is none
    question : what the reader answers by moving the widget
    presets : the buttons, each a ``label`` with values of some of the four settings
    """

    name = "power"
    parts = ("verdicts",)
    fallback = (
        "Interactive figure: the distribution of the mean difference over seeds, the probability "
        "that its 95 % interval excludes zero, the probabilities of the four verdicts, and an "
        "experiment to draw, with controls for the true difference, the spread, the number of "
        "seeds and the smallest effect of interest. It needs JavaScript."
    )
    effect = traitlets.Float(0.2, min=0.0, max=2.0).tag(sync=True)
    sd = traitlets.Float(0.3, min=0.01, max=1.5).tag(sync=True)
    seeds = traitlets.Int(3, min=2, max=100).tag(sync=True)
    bound = traitlets.Float(0.2, min=0.02, max=1.0).tag(sync=True)
    draw = traitlets.Int(0, min=0).tag(sync=True)
    question = traitlets.Unicode(
        "You suspect a difference of 0.2 points. How many seeds does it take to see it in four "
        "experiments out of five?"
    ).tag(sync=True)
    presets = traitlets.List(traitlets.Dict(), EXAMPLES, maxlen=5).tag(sync=True)

    @traitlets.validate("presets")
    def _valid_presets(self, proposal: Any) -> Any:
        for preset in proposal["value"]:
            label = preset.get("label")
            if not isinstance(label, str) or not label:
                raise traitlets.TraitError(f"presets: {preset} has no label")
            if unknown := preset.keys() - {"label", *SETTINGS}:
                raise traitlets.TraitError(
                    f"presets: {label!r} sets {', '.join(sorted(unknown))}; a preset can set "
                    f"{', '.join(SETTINGS)}"
                )
            for name in SETTINGS:
                if name in preset:
                    try:
                        self.traits()[name]._validate(self, preset[name])
                    except traitlets.TraitError as error:
                        raise traitlets.TraitError(
                            f"presets: {label!r} sets {name} to {preset[name]!r}, but {error}"
                        ) from None
        return proposal["value"]

    @classmethod
    def from_differences(
        cls, differences: Mapping[str, Difference], *, effect: float, bound: float, **values: Any
    ) -> Self:
        """Create the widget with a button for each recorded difference, and start at the first.

        Parameters
        ----------
        differences : by the label of the button, in shares: `Recorded.difference`. A button sets
            the spread and the number of seeds.
        effect, bound : the true difference to look for and the smallest effect of interest, points
        values : further values of the widget
        """
        presets = [
            {
                "label": label,
                "effect": effect,
                "sd": round(POINTS * difference.sd, 4),
                "seeds": difference.n,
                "bound": bound,
            }
            for label, difference in differences.items()
        ]
        first = {name: preset[name] for preset in presets[:1] for name in SETTINGS}
        return cls(**{**first, "presets": presets, **values})

    @property
    def error(self) -> float:
        """Standard error of the mean difference, points."""
        return self.sd / math.sqrt(self.seeds)

    def half_widths(self) -> tuple[float, float]:
        """Of the 95 % and the 90 % interval if the observed spread is the true one, points."""
        wide, narrow = stats.t.ppf([0.975, 0.95], self.seeds - 1)
        return float(wide) * self.error, float(narrow) * self.error

    def power(self, effects: ArrayLike) -> Floats:
        """Probability that the 95 % interval excludes zero, for true differences in points."""
        degrees = self.seeds - 1
        t, shift = stats.t.ppf(0.975, degrees), np.asarray(effects, dtype=np.float64) / self.error
        result: Floats = stats.nct.sf(t, degrees, shift) + stats.nct.sf(t, degrees, -shift)
        return result

    def detectable(self) -> float:
        """The true difference whose side is seen with 80 % power, as in `Difference`, points."""
        degrees = self.seeds - 1
        t = float(stats.t.ppf(0.975, degrees))
        shift = optimize.brentq(lambda nc: stats.nct.sf(t, degrees, nc) - 0.8, 0.0, 100.0 * t)
        return float(shift) * self.error

    def verdicts(self, effect: float | None = None) -> Verdicts:
        """The probability of each verdict; None means the widget's true difference.

        Mean and spread of a normal sample are independent. For a given spread the verdict depends
        only on the size of the mean, which leaves an integral over the spread.
        """
        degrees, e = self.seeds - 1, self.error
        mu = self.effect if effect is None else effect
        wide, narrow = (float(t) for t in stats.t.ppf([0.975, 0.95], degrees))
        reach = 7.0 / math.sqrt(2.0 * degrees)
        # The limits of the verdicts cross where the 95 % interval around the bound meets zero, and
        # above the second spread no mean is equivalent. The integrand has a kink at both.
        kinks = (self.bound / ((wide + narrow) * e), self.bound / (narrow * e))
        low, high = max(0.0, 1.0 - reach), 1.0 + reach
        ends = np.clip([low, *kinks, high], low, high)
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        parts = np.zeros(3)
        for low, high in pairwise(ends):
            u = (low + high) / 2 + (high - low) / 2 * nodes  # observed spread / true spread
            density = stats.chi.pdf(u, degrees, scale=1.0 / math.sqrt(degrees))
            share = (high - low) / 2 * weights * density
            seen, matters = wide * u * e, np.maximum(self.bound - narrow * u * e, 0.0)
            parts += [
                share @ self._beyond(np.maximum(seen, matters), mu),
                share @ np.maximum(self._beyond(seen, mu) - self._beyond(matters, mu), 0.0),
                share @ (1.0 - self._beyond(np.minimum(seen, matters), mu)),
            ]
        different, small, equivalent = (float(part) for part in parts)
        return Verdicts(different, small, equivalent, 1.0 - different - small - equivalent)

    def _beyond(self, limit: Floats, mu: float) -> Floats:
        """Probability that the mean difference is larger than a limit in size."""
        result: Floats = stats.norm.sf((limit - mu) / self.error) + stats.norm.sf(
            (limit + mu) / self.error
        )
        return result

    def drawn(self) -> Floats:
        """The differences of the drawn experiment, points; shape (seeds,), empty for no draw."""
        if not self.draw:
            return np.empty(0)
        return self.effect + self.sd * np.array(_normals(self.draw, self.seeds))

    def experiment(self) -> tuple[Difference, Equivalence] | None:
        """The statistics of the drawn experiment, points; None for no draw."""
        differences = self.drawn()
        if not len(differences):
            return None
        difference = paired(differences, np.zeros_like(differences))
        return difference, difference.within(self.bound)


def _normals(seed: int, n: int) -> list[float]:
    """The page's normal numbers: mulberry32 and the Box-Muller transform."""
    state, mask = (seed * 0x9E3779B9) & 0xFFFFFFFF, 0xFFFFFFFF

    def uniform() -> float:
        nonlocal state
        state = (state + 0x6D2B79F5) & mask
        t = ((state ^ (state >> 15)) * (state | 1)) & mask
        t ^= (t + ((t ^ (t >> 7)) * (t | 61) & mask)) & mask
        return ((t ^ (t >> 14)) + 0.5) / 2.0**32

    return [
        math.sqrt(-2.0 * math.log(uniform())) * math.cos(2.0 * math.pi * uniform())
        for _ in range(n)
    ]
