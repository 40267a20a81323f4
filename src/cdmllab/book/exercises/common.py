"""Helpers that the checkers share."""

import math
from numbers import Integral, Real
from typing import TypeGuard


def is_number(answer: object) -> TypeGuard[float]:
    """Whether the answer is a real number of Python or NumPy; booleans do not count."""
    return isinstance(answer, Real) and not isinstance(answer, bool)


def is_whole(answer: object) -> TypeGuard[int]:
    """Whether the answer is an integer of Python or NumPy; booleans do not count."""
    return isinstance(answer, Integral) and not isinstance(answer, bool)


def number(answer: object, right: float, *, tolerance: float, unit: str = "") -> str | None:
    """Compare a numerical answer with the right one; return None or a hint."""
    if not is_number(answer):
        return f"Please give a number{f' in {unit}' if unit else ''}, not {type(answer).__name__}."
    if math.isclose(answer, right, abs_tol=tolerance):
        return None
    return f"Not yet: {answer:g} is too {'large' if answer > right else 'small'}."
