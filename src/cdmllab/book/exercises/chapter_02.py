"""Chapter 2, From softmax to margins."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from cdmllab.book.exercises.common import is_number, number
from cdmllab.margins.angular import combined


class _Called(TorchFunctionMode):
    """Records the names of the PyTorch functions that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.__name__.strip("_"))  # __add__ and add are one
        return func(*args, **(kwargs or {}))


def _near_equal(answer: Any) -> str | None:
    if not is_number(answer):
        return "Please give one number, an angle in degrees."
    theta = math.radians(answer)
    difference = math.cos(theta + 0.5) - (math.cos(theta) - 0.35)
    if abs(difference) < 0.01 and 0.0 <= answer <= 151.0:  # beyond, theta + 0.5 exceeds pi
        return None
    larger = "ArcFace" if difference > 0 else "CosFace"
    return (
        f"Not yet: at {answer:g} degrees the target logit of {larger} is larger by "
        f"{abs(difference):.3f} s."
    )


def _target(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of the cosine and the margin."
    # Above -0.8, theta + m stays below pi, where all rules beyond it agree.
    cosines = torch.linspace(-0.8, 1.0, 50, dtype=torch.float64)
    with _Called() as called:
        got = torch.as_tensor(answer(cosines.clone(), 0.5))
    want = combined(cosines, m2=0.5, beyond_pi="none")
    if got.shape != want.shape:
        return (
            f"For {len(want)} cosines the result should have shape ({len(want)},), but it is "
            f"{tuple(got.shape)}."
        )
    if torch.allclose(got.double(), want, atol=1e-6):
        if called.names & {"acos", "arccos"}:
            return (
                "The values are right, but your function computes an arc cosine, which the "
                "addition theorem avoids."
            )
        return None
    # The likely mistakes: the sign, and CosFace in place of ArcFace.
    if torch.allclose(got.double(), combined(cosines, m2=-0.5, beyond_pi="none"), atol=1e-6):
        return "The sign of the margin is reversed: it should make the target angle larger."
    if torch.allclose(got.double(), cosines - 0.5, atol=1e-6):
        return "That is CosFace, which subtracts the margin from the cosine; add it to the angle."
    return "The values differ from cos(theta + m)."


def _limit(answer: Any) -> str | None:
    return number(answer, math.degrees(math.pi - 0.5), tolerance=0.1, unit="degrees")


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "2.1": _near_equal,
    "2.2": _target,
    "2.3": _limit,
}
