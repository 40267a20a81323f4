"""Chapter 6, A laboratory of faces."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cdmllab.book.exercises.common import is_number, number
from cdmllab.faces import FACTORS, difficulty


def _wrong_labels(answer: Any) -> str | None:
    return number(answer, 800.0, tolerance=0.5, unit="images")


def _distance(answer: Any) -> str | None:
    if is_number(answer) and abs(answer - 128.0) < 0.5:
        return "That is the distance between strangers: a lookalike shares a part of the latent."
    if is_number(answer) and min(abs(answer - 85.2), abs(answer - 121.7)) < 1.0:
        return (
            "That is the distance with the truncation at 2.2, which reduces the spread; the "
            "exercise asks for the distance without it."
        )
    return number(answer, 89.6, tolerance=0.1, unit="")


def _difficulty(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of a dictionary of strengths."
    responses = difficulty.known()
    rng = np.random.default_rng(6)
    for _ in range(20):
        # Five nuisances at random.
        strengths = {name: float(rng.random()) for name in rng.permutation(list(FACTORS))[:5]}
        want = sum(
            np.interp(s, difficulty.STRENGTHS, responses.lost[name])
            for name, s in strengths.items()
        )
        got = float(answer(dict(strengths)))
        if abs(got - want) > 1e-6:
            case = ", ".join(f"{name} {s:.2f}" for name, s in strengths.items())
            return (
                f"For {case} the responses add up to {want:.4f}, but your function returns "
                f"{got:.4f}."
            )
    return None


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "6.1": _wrong_labels,
    "6.2": _distance,
    "6.3": _difficulty,
}
