"""Chapter 16, quality scores and curves of error against discard."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cdmllab.book.exercises.common import is_number, number


def _perfect(answer: Any) -> str | None:
    if is_number(answer) and abs(answer - 0.1) < 1e-6:
        return "The failures that remain are right, but fewer pairs are left to divide them by."
    if answer == 0.2:
        return "A perfect quality discards failures first."
    return number(answer, 1.0 / 9.0, tolerance=0.001)


def _kept(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of the qualities and a rate."
    for quality, rate, right in (
        ([3.0, 1.0, 2.0, 4.0], 0.5, [True, False, False, True]),
        ([1.0, 1.0, 2.0, 3.0], 0.25, [True, True, True, True]),
        ([2.0, 1.0, 2.0, 2.0, 5.0], 0.6, [True, False, True, True, True]),
        ([5.0, 4.0, 3.0], 0.0, [True, True, True]),
    ):
        got = np.asarray(answer(np.array(quality), rate))
        if got.shape != (len(quality),) or got.dtype != bool:
            return f"The result should be a mask of {len(quality)} booleans."
        if got.tolist() == right:
            continue
        if (~got).sum() > rate * len(quality):
            return f"With qualities {quality} and a rate of {rate} that discards too many."
        if len(set(quality)) < len(quality):
            return f"Equal qualities stay or go together: look at {quality} and a rate of {rate}."
        return f"With qualities {quality} and a rate of {rate} these are not the pairs to keep."
    return None


def _shifted_fmr() -> float:
    """P(noise + q > t | q > 0) for standard normal noise and q, and t with P(noise + q > t) 5 %."""
    rng = np.random.default_rng(0)
    noise, q = rng.normal(size=(2, 2_000_000))
    score = noise + q
    return float((score[q > 0.0] > np.quantile(score, 0.95)).mean())


def _fmr_left(answer: Any) -> str | None:
    if is_number(answer) and abs(answer - 0.05) < 0.004:
        return "That is the FMR before anything is discarded, or the threshold was chosen again."
    return number(answer, _shifted_fmr(), tolerance=0.004)


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "16.1": _perfect,
    "16.2": _kept,
    "16.3": _fmr_left,
}
