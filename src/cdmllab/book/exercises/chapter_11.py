"""Chapter 11, Verification."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cdmllab.book.exercises.common import number
from cdmllab.metrics import ranked, templates


def _resolution(answer: Any) -> str | None:
    problem = number(answer, 1 / 4000, tolerance=1e-6)  # one of 4,000 impostor pairs
    if problem and number(answer, 1 / 6000, tolerance=1e-6) is None:
        return "The FAR is a share of the impostor pairs; genuine pairs do not count."
    if problem and number(answer, 1 / 2000, tolerance=1e-6) is None:
        return "That is one step of the TAR; the FAR is a share of the impostor pairs."
    return problem


def _tar_at_far(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of genuine scores, impostor scores and a FAR."
    rng = np.random.default_rng(11)
    for decimals, case in ((6, ""), (1, " for tied scores")):  # distinct scores, then many ties
        genuine, impostor = (
            np.round(rng.normal(1.0, 1.0, 300), decimals),
            np.round(rng.normal(size=200), decimals),
        )
        sorted_scores = ranked.Ranked(np.sort(genuine), np.sort(impostor))
        for far in (0.005, 0.0125, 0.1, 0.5):
            got, want = (
                float(answer(genuine.copy(), impostor.copy(), far)),
                ranked.tar_at_far(sorted_scores, far),
            )
            if abs(got - want) < 1e-9:
                continue
            pairs = "too many" if got > want else "fewer genuine pairs than it could"
            return (
                f"At a FAR of {far:g} your function returns {got:.4f} instead of "
                f"{want:.4f}{case}: it accepts {pairs}."
            )
    return None


def _scale(answer: Any) -> str | None:
    problem = number(answer, 0.38, tolerance=1e-3)  # 1 - 1.24 / 2
    if problem and number(answer, 0.62, tolerance=1e-3) is None:
        return "That is the cosine distance, 1 - cos; the exercise asks for the cosine."
    if problem and number(answer, 1 - 1.24**2 / 2, tolerance=1e-3) is None:
        return "Almost: 1.24 is already the squared distance."
    return problem


def _pool(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of embeddings [n, d] and media numbers [n]."
    rng = np.random.default_rng(11)
    # Media of five, three and one images: averages and sums differ.
    e, m = rng.normal(size=(9, 4)) + 1.0, np.array([3, 3, 3, 3, 3, 0, 0, 7, 0])
    got = np.asarray(answer(e.copy(), m.copy()), dtype=np.float64)
    if got.shape != (4,):
        return f"For embeddings [9, 4] the template should have shape (4,), but it has {got.shape}."
    want = templates.pool(e, np.zeros(9, dtype=int), m).embeddings[0]
    if np.allclose(got, want):
        return None
    if np.allclose(got / np.linalg.norm(got), want):
        return "The direction is right, but the length should be 1."
    # The likely mistake: a mean over all images, in which the large medium dominates.
    mean = e.mean(axis=0)
    if np.allclose(got / np.linalg.norm(got), mean / np.linalg.norm(mean)):
        return (
            "Here every image has the same weight. Every medium should have the same weight, so "
            "average within it first."
        )
    return "The result should be the direction of the sum of the media's means; the values differ."


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "11.1": _resolution,
    "11.2": _tar_at_far,
    "11.3": _scale,
    "11.4": _pool,
}
