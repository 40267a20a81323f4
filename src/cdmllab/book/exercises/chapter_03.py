"""Chapter 3, The gradient of a margin."""

import math
from collections.abc import Callable
from typing import Any

import torch

from cdmllab.book.exercises.common import is_number, number
from cdmllab.geometry import unit
from cdmllab.margins.angular import combined


def _ratio(answer: Any) -> str | None:
    # The slopes at 60 degrees with a margin of 0.5.
    right = math.sin(math.pi / 3.0 + 0.5) / math.sin(math.pi / 3.0)
    problem = number(answer, right, tolerance=0.002)
    if problem and is_number(answer) and math.isclose(answer, 1.0 / right, abs_tol=0.002):
        return "That is the inverse ratio: here the exact gradient is the larger of the two."
    cosines = math.cos(math.pi / 3.0 + 0.5) / math.cos(math.pi / 3.0)
    if problem and is_number(answer) and math.isclose(answer, cosines, abs_tol=0.002):
        return "That is the ratio of the cosines; the exercise asks for the ratio of the slopes."
    return problem


def _vanishing(answer: Any) -> str | None:
    # Where s cos(theta + m) equals the logarithm of the number of negatives, all at 90 degrees.
    total = math.degrees(math.acos(math.log(1e6 - 1.0) / 64.0))
    problem = number(answer, total - math.degrees(0.5), tolerance=0.15, unit="degrees")
    if problem and is_number(answer) and math.isclose(answer, total, abs_tol=0.15):
        return "That is theta + m, the angle including the margin; the exercise asks for theta."
    return problem


def _through_the_length(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of x and g, both of shape [b, d]."
    generator = torch.Generator().manual_seed(2)
    x = 3.0 * torch.randn(5, 4, generator=generator, dtype=torch.float64)
    g = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    # The reference is autograd through the normalisation.
    leaf = x.clone().requires_grad_()
    (want,) = torch.autograd.grad((unit(leaf) * g).sum(), leaf)
    got = torch.as_tensor(answer(x.clone(), g.clone()))
    if got.shape != want.shape:
        return (
            f"For x and g of shape (5, 4) the result should have the same shape, but it is "
            f"{tuple(got.shape)}."
        )
    if torch.allclose(got.double(), want, atol=1e-6):
        return None
    # The likely mistakes: no division by the length, and no projection.
    length = x.norm(dim=1, keepdim=True)
    if torch.allclose(got.double(), want * length, atol=1e-6):
        return (
            "The direction is right, but the length of x is missing: the longer an embedding, the "
            "less a step turns it."
        )
    if torch.allclose(got.double(), g / length, atol=1e-6):
        return "Remove the component along x: moving along x does not change the unit embedding."
    return "The values differ from the gradient that autograd computes."


def _finite(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of the cosine and the margin."
    # First the values and slopes inside the interval, where nothing may change.
    inside = torch.linspace(-0.999, 0.999, 200, dtype=torch.float64)
    want = combined(inside, m2=0.5, beyond_pi="none")
    got = torch.as_tensor(answer(inside.clone(), 0.5))
    if got.shape != want.shape or not torch.allclose(got.double(), want, atol=1e-3):
        return "The values differ from cos(theta + m) even well inside the interval."
    leaf = inside.clone().requires_grad_()
    (slope,) = torch.autograd.grad(answer(leaf, 0.5).sum(), leaf)
    theta = torch.acos(inside)
    if not torch.allclose(slope, torch.sin(theta + 0.5) / torch.sin(theta), rtol=0.05, atol=0.01):
        return (
            "The gradient inside the interval is that of another function; it should be "
            "sin(theta + m) / sin(theta)."
        )
    # At the ends, and just beyond them, where rounding can take a cosine.
    for dtype in (torch.float32, torch.float64):
        eps = torch.finfo(dtype).eps
        for c in (1.0, -1.0, 1.0 + eps, -1.0 - eps):
            leaf = torch.tensor([c], dtype=dtype, requires_grad=True)
            value = answer(leaf, 0.5)
            if not bool(torch.isfinite(value).all()):
                return (
                    f"At c = {c:.17g} in {str(dtype).removeprefix('torch.')} the value is "
                    f"{float(value):g}."
                )
            (slope,) = torch.autograd.grad(value.sum(), leaf)
            if not bool(torch.isfinite(slope).all()):
                return (
                    f"At c = {c:.17g} in {str(dtype).removeprefix('torch.')} the gradient is "
                    f"{float(slope):g}."
                )
    return None


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "3.1": _ratio,
    "3.2": _vanishing,
    "3.3": _through_the_length,
    "3.4": _finite,
}
