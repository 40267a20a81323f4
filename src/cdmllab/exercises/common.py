"""What checkers share."""

import math
from numbers import Real


def number(answer: object, right: float, *, tolerance: float, unit: str = "") -> str | None:
    """Compare a number; say what kind it should be if it is none."""
    if isinstance(answer, bool) or not isinstance(answer, Real):
        return f"A number{f' in {unit}' if unit else ''} is wanted, this is {type(answer).__name__}."
    if math.isclose(answer, right, abs_tol=tolerance):
        return None
    return f"{answer:g} is too {'large' if answer > right else 'small'}."
