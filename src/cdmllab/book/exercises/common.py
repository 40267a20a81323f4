"""What checkers share."""

import math
from numbers import Integral, Real
from typing import TypeGuard


def is_number(answer: object) -> TypeGuard[float]:
    """A number of Python's or NumPy's; True and False are none."""
    return isinstance(answer, Real) and not isinstance(answer, bool)


def is_whole(answer: object) -> TypeGuard[int]:
    """A whole number of Python's or NumPy's."""
    return isinstance(answer, Integral) and not isinstance(answer, bool)


def number(answer: object, right: float, *, tolerance: float, unit: str = "") -> str | None:
    """Compare a number; say what kind it should be if it is none."""
    if not is_number(answer):
        return (
            f"A number{f' in {unit}' if unit else ''} is wanted, this is {type(answer).__name__}."
        )
    if math.isclose(answer, right, abs_tol=tolerance):
        return None
    return f"{answer:g} is too {'large' if answer > right else 'small'}."
