"""Chapter 1, Embeddings on a sphere."""

import math
from collections.abc import Callable
from typing import Any

import torch

from cdmllab.book.exercises.common import is_number, number
from cdmllab.geometry import cosine


def _angle(answer: Any) -> str | None:
    right = math.degrees(math.acos(0.8))  # 36.87 degrees
    problem = number(answer, right, tolerance=0.05, unit="degrees")
    if problem and is_number(answer) and math.isclose(answer, math.acos(0.8), abs_tol=1e-3):
        return "That is the right angle, but in radians; please give it in degrees."
    if problem and is_number(answer) and math.isclose(answer, 0.8, abs_tol=1e-3):
        return "That is the cosine. Which angle has this cosine?"
    return problem


def _cosine_matrix(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of two tensors: embeddings [b, d] and centres [c, d]."
    # Vectors of random lengths, so that a forgotten normalisation shows.
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, 3, generator=generator)
    w = torch.randn(4, 3, generator=generator)
    got = answer(x.clone(), w.clone())
    if not isinstance(got, torch.Tensor) or got.shape != (5, 4):
        shape = tuple(got.shape) if isinstance(got, torch.Tensor) else type(got).__name__
        return (
            f"For embeddings [5, 3] and centres [4, 3] the result should have shape [5, 4], but "
            f"it is {shape}."
        )
    if torch.allclose(got, cosine(x, w), atol=1e-5):
        return None
    # Name the most likely mistake: no normalisation, or of one side only.
    if torch.allclose(got, x @ w.T, atol=1e-5):
        return "These are inner products: they still depend on the lengths of the vectors."
    if torch.allclose(got, cosine(x, w) * w.norm(dim=1), atol=1e-5):
        return "Almost: the embeddings have length 1, but the centres do not yet."
    if torch.allclose(got, cosine(x, w) * x.norm(dim=1, keepdim=True), atol=1e-5):
        return "Almost: the centres have length 1, but the embeddings do not yet."
    return "The shape is right, but the values are not the cosines."


def _threshold(answer: Any) -> str | None:
    if not is_number(answer):
        return "Please give one number, a cosine."
    # At least one, whatever the threshold.
    wrong = sum((score >= answer) != same for score, same in _SIX_PAIRS)
    if wrong == 1:
        return None
    return (
        f"At {answer:g}, {wrong} of the six pairs are classified wrongly. A better threshold makes "
        f"only one mistake."
    )


_SIX_PAIRS = ((0.9, True), (0.8, True), (0.7, True), (0.75, False), (0.6, False), (0.1, False))

CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "1.1": _angle,
    "1.2": _cosine_matrix,
    "1.3": _threshold,
}
