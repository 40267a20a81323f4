"""Chapter 12, Ours and the published."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cdmllab.book.exercises.common import number

UNDECIDED = "not distinguishable"  # the word of `cdmllab.results.sweeps`


def _standard_error(answer: Any) -> str | None:
    if answer == 0.046:
        return (
            "The standard error of a mean falls with the square root of the number of folds, not "
            "with the number itself."
        )
    return number(answer, 0.46 / math.sqrt(10), tolerance=2e-3, unit="points")


def _seeds(answer: Any) -> str | None:
    if answer == 7:
        return "Almost: remember the square, since twice the precision takes four times the seeds."
    return number(answer, 49, tolerance=0)


def _verdict(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of the differences."
    from scipy import stats  # takes seconds, and every chapter imports all exercises

    rng = np.random.default_rng(0)
    # Shifts far from zero, at zero, and just on either side of significance.
    noise = rng.standard_normal(12) * 0.005
    for shift in (0.02, -0.02, 0.0, 0.0025, 0.0022):
        differences = noise - noise.mean() + shift
        low, high = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
        right = "higher" if low > 0 else "lower" if high < 0 else UNDECIDED
        got = answer(differences)
        if got == right:
            continue
        if right == UNDECIDED:
            return (
                f"An interval from {low:.4f} to {high:.4f} contains zero: the answer is "
                f"{UNDECIDED!r}."
            )
        return (
            f"Differences with an interval from {low:.4f} to {high:.4f} are {right!r}, not {got!r}."
        )
    return None


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "12.1": _standard_error,
    "12.2": _seeds,
    "12.3": _verdict,
}
