"""Chapter 12, Ours and the published."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cdmllab.book.exercises.common import number


def _standard_error(answer: Any) -> str | None:
    if answer == 0.046:
        return (
            "The error of a mean falls with the square root of the number of folds, not with the "
            "number."
        )
    return number(answer, 0.46 / math.sqrt(10), tolerance=2e-3, unit="points")


def _seeds(answer: Any) -> str | None:
    if answer == 7:
        return "That leaves out the square: twice the precision takes four times the seeds."
    return number(answer, 49, tolerance=0)


def _verdict(answer: Any) -> str | None:
    if not callable(answer):
        return "A function of the differences is wanted."
    from scipy import stats  # takes seconds, and every chapter imports all exercises

    rng = np.random.default_rng(0)
    noise = rng.standard_normal(12) * 0.005
    for shift in (0.02, -0.02, 0.0, 0.0025, 0.0022):
        differences = noise - noise.mean() + shift
        low, high = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
        right = "higher" if low > 0 else "lower" if high < 0 else "not told apart"
        got = answer(differences)
        if got == right:
            continue
        if right == "not told apart":
            return (
                f"Differences with an interval from {low:.4f} to {high:.4f} hold zero: they are "
                f"not told apart."
            )
        return (
            f"Differences with an interval from {low:.4f} to {high:.4f} are {right}, not {got!r}."
        )
    return None


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "12.1": _standard_error,
    "12.2": _seeds,
    "12.3": _verdict,
}
