"""Chapter 17, An experiment that could say yes."""

from collections.abc import Callable
from typing import Any

from cdmllab.book.exercises.common import number

# Mean, spread, seeds, bound, and the verdict: one of each kind, and the example of the text.
_CASES = (
    (0.50, 0.30, 16, 0.2, "different"),
    (-0.50, 0.30, 16, 0.2, "different"),
    (0.10, 0.05, 16, 0.2, "too small to matter"),
    (0.01, 0.10, 16, 0.2, "equivalent"),
    (0.05, 0.30, 16, 0.2, "equivalent"),
    (0.05, 0.60, 16, 0.2, "inconclusive"),
    (-0.15, 0.30, 12, 0.2, "inconclusive"),
)


def _verdict(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of mean, spread, seeds and bound."
    for mean, spread, seeds, bound, right in _CASES:
        got = answer(mean, spread, seeds, bound)
        if got != right:
            return (
                f"A mean of {mean:g} with a spread of {spread:g} over {seeds} seeds and a bound of "
                f"{bound:g} is {right!r}, not {got!r}."
            )
    return None


def _scale(answer: Any) -> str | None:
    if answer == 4:
        return (
            "At scale 4 the loss of perfect samples is still 0.1: compute ln(1 + 9 exp(-10 s / 9))."
        )
    return number(answer, 64, tolerance=0)


def _pairs(answer: Any) -> str | None:
    if answer in (2, 3):
        return "The spread is 0.5 points and the bound 0.2, not the other way round."
    return number(answer, 56, tolerance=0)


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "17.1": _verdict,
    "17.2": _scale,
    "17.3": _pairs,
}
