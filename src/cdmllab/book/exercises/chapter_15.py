"""Chapter 15, An atlas of margins."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from cdmllab import margins
from cdmllab.analysis import atlas, margin_axes
from cdmllab.analysis.margin_axes import Place
from cdmllab.book.exercises.common import is_number, number


def _magface(answer: Any) -> str | None:
    right = math.degrees(0.625)
    problem = number(answer, right, tolerance=0.2, unit="degrees")
    if problem and number(answer, 0.625, tolerance=0.005) is None:
        return "That is the margin in radians; the exercise asks for degrees."
    # 60 / 110 of the way instead of 50 / 100.
    wrong = math.degrees(0.45 + 0.35 * 60.0 / 110.0)
    if problem and number(answer, wrong, tolerance=0.2) is None:
        return "The margin begins to grow at length 10, not at 0."
    return problem


def _adaface(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of the cosine, z and the margin."
    theta = torch.linspace(0.6, 2.4, 50, dtype=torch.float64)
    for z in (-1.0, -0.4, 0.0, 0.7, 1.0):
        got = torch.as_tensor(answer(torch.cos(theta), z, 0.4))
        if got.shape != theta.shape:
            return (
                f"For 50 cosines there should be 50 targets, but the shape is {tuple(got.shape)}."
            )
        want = torch.cos(theta - 0.4 * z) - 0.4 * (1.0 + z)
        if torch.allclose(got.double(), want, atol=1e-6):
            continue
        if torch.allclose(got.double(), torch.cos(theta + 0.4 * z) - 0.4 * (1.0 + z), atol=1e-6):
            return "The sign of the angle is wrong: at z = -1 AdaFace is ArcFace, which adds m."
        if torch.allclose(got.double(), torch.cos(theta - 0.4 * z) - 0.4, atol=1e-6):
            return "The second term is m (1 + z): it follows the length, too."
        return f"At z = {z:g} the values differ from cos(theta - m z) - m (1 + z)."
    return None


def _short(answer: Any) -> str | None:
    if not isinstance(answer, str):
        return "Please give the name under which your loss is registered, as a string."
    if answer not in margins.names():
        return f"No loss is registered as {answer!r}."
    found = atlas.entry(answer)
    if "norm" not in found.moved_by:
        return (
            f"The length of the embedding does not move the margin of {answer}; measured: "
            f"{', '.join(found.moved_by)}."
        )
    if found.moved_by != ("norm",):
        return (
            f"The length moves the margin, but it is not alone; measured: "
            f"{', '.join(found.moved_by)}."
        )
    if found.larger_for != "hard":
        return f"The margin of {answer} is larger for long embeddings, not for short ones."
    return None


def _equal_length(answer: Any) -> str | None:
    at, place = np.linspace(10.0, 110.0, 1001), Place(angle_rad=math.radians(30.0))
    magface, adaface = (
        margin_axes.curve(name, "norm", at, place).margin_cos for name in ("magface", "adaface")
    )
    right = float(at[np.abs(magface - adaface).argmin()])
    problem = number(answer, right, tolerance=1.0)
    if problem and is_number(answer) and not 10.0 <= answer <= 110.0:
        return "Look between 10 and 110, where MagFace's margin follows the length."
    return problem


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "15.1": _magface,
    "15.2": _adaface,
    "15.3": _short,
    "15.4": _equal_length,
}
