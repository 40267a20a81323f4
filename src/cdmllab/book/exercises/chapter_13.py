"""Chapter 13, What the sources say, and where they disagree."""

import math
from collections.abc import Callable
from typing import Any

import torch

from cdmllab.book.exercises.common import is_number, number
from cdmllab.margins import CDML, Batch


def _gap_margin(answer: Any) -> str | None:
    if answer == 0.62:
        return "That is 0.5 + 0.1 times the gap itself; the hardness is one minus the gap."
    if answer == 0.5:
        return "The hardness is negative here, and this form has no floor: it lowers the margin."
    if answer in (0.588, 0.392):
        return (
            "That is the form of DATN's page, 0.49 times 1.2 or 0.8. DATN's code adds 0.1 h to 0.5."
        )
    return number(answer, 0.48, tolerance=5e-4, unit="radians")


def _angle(answer: Any) -> str | None:
    right = math.degrees(math.acos(1.0 - 0.705))  # 0.705 is one minus the cosine
    if is_number(answer) and math.isclose(answer, math.radians(right), abs_tol=0.01):
        return "That is the right angle, but in radians; please give it in degrees."
    if is_number(answer) and math.isclose(answer, math.degrees(math.acos(0.705)), abs_tol=0.1):
        return "0.705 is not the cosine but a distance, one minus the cosine."
    return number(answer, right, tolerance=0.1, unit="degrees")


def _fair(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of a policy and a batch."
    # A batch of random cosines, all with the same hardest negative.
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(50, generator=generator) * 2 - 1
    batch = Batch(
        torch.zeros(50, dtype=torch.long),
        cosines,
        torch.ones(50),
        hardest_negative=torch.full((50,), 0.2),
    )
    # Losses whose mean margin differs from their base margin.
    for policy in (CDML(shape="linear"), CDML.datn_code_gap()):
        right = float(policy.margin_rad(batch).mean())
        got = float(answer(policy, batch))
        if abs(got - policy.base_margin_rad) < 1e-6:
            return (
                "That is the base margin; the mean over the batch differs from it, which is the "
                "point."
            )
        if abs(got - right) > 1e-5:
            return (
                f"On our test batch the mean margin is {right:.4f}, but your function returns "
                f"{got:.4f}."
            )
    return None


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "13.1": _gap_margin,
    "13.2": _angle,
    "13.3": _fair,
}
