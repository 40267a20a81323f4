"""Chapter 4, CDML, derived from ArcFace."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from cdmllab import margins
from cdmllab.book.exercises.common import is_number, number

EASY, HARD = 0.49 * 1.2, 0.49 * 0.8  # the two margins of CDML with a step, alpha 0.2


def _two_margins(answer: Any) -> str | None:
    try:
        near, far = (float(m) for m in answer)
    except (TypeError, ValueError):
        return "Please give a pair of numbers: the margin at 40 degrees, then the margin at 70."
    if math.isclose(near, EASY, abs_tol=5e-4) and math.isclose(far, HARD, abs_tol=5e-4):
        return None
    if math.isclose(near, HARD, abs_tol=5e-4) and math.isclose(far, EASY, abs_tol=5e-4):
        return "That is the opposite sign: on DATN's page easy samples get the larger margin."
    if near == far:
        return (
            "The margins differ: the pivot is at 60 degrees, and the two angles are on either side "
            "of it."
        )
    return (
        "Not yet: the easy sample gets 1.2 times and the hard one 0.8 times the base margin of "
        "0.49."
    )


def _gap_margin(answer: Any) -> str | None:
    problem = number(answer, 0.57, tolerance=5e-4, unit="radians")  # 0.5 + 0.1 (1 - 0.3)
    if problem and is_number(answer):
        if math.isclose(answer, 0.53, abs_tol=5e-4):
            return "Almost: the gap is 0.3, and h is 1 minus the gap."
        if math.isclose(answer, 0.7, abs_tol=5e-4):
            return "That is h. The margin is m2 + 0.1 h."
    return problem


def _matched(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of e, the base margin and alpha."
    e = torch.tensor([0.9, 0.5, 0.4, -0.3, -0.2], dtype=torch.float64)  # their mean is not 0
    got = torch.as_tensor(answer(e.clone(), 0.5, 0.2))
    if got.shape != e.shape:
        return f"For five samples the result should have shape (5,), but it is {tuple(got.shape)}."
    if torch.allclose(got.double(), 0.5 * (1.0 + 0.2 * (e - e.mean())), atol=1e-6):
        return None
    mean = float(got.double().mean())
    if not math.isclose(mean, 0.5, abs_tol=1e-6):
        return f"The mean margin is {mean:.4f}, but it should be the base margin of 0.5."
    return (
        "The mean is right, but the margins should differ by alpha times the base margin per unit "
        "of e."
    )


def _fair(answer: Any) -> str | None:
    # Nine in ten are easy.
    problem = number(answer, 0.9 * EASY + 0.1 * HARD, tolerance=5e-4, unit="radians")
    if problem and is_number(answer):
        if math.isclose(answer, 0.49, abs_tol=5e-4):
            return "That is the base margin; the mean margin of this batch is larger."
        if math.isclose(answer, EASY, abs_tol=5e-4):
            return "That is the margin of the easy ones; remember that one sample in ten is hard."
    return problem


def _options(answer: Any) -> str | None:
    if not isinstance(answer, Mapping):
        return "Please give a dictionary with options of `cdml`."
    policy = margins.create("cdml", num_identities=2, **answer)
    assert isinstance(policy, margins.CDML)
    if policy.kind == "known":
        return (
            "Only an oracle knows the true easiness of a sample. Choose one of the chapter's three "
            "scores, or keep the default."
        )
    # The target centre leads the hardest negative by 75 to 45 degrees: no score is clipped.
    target_deg = torch.tensor([10.0, 20.0, 30.0, 40.0], dtype=torch.float64)
    target, negative = (
        torch.cos(torch.deg2rad(deg)) for deg in (target_deg, torch.full_like(target_deg, 85.0))
    )
    batch = margins.Batch(
        torch.zeros(4, dtype=torch.int64),
        target,
        torch.ones(4),
        progress=1.0,
        hardest_negative=negative,
    )
    margin_rad = policy.margin_rad(batch)
    if not math.isclose(float(margin_rad.mean()), 0.5, abs_tol=1e-9):
        return (
            f"For our four test samples the mean margin is {float(margin_rad.mean()):.3f}, not 0.5."
        )
    if len(margin_rad.unique()) < len(target):
        return (
            "Samples of different easiness get the same margin: is the shape still a step, or "
            "alpha 0?"
        )
    if not bool((margin_rad.diff() > 0).all()):
        return "Here easy samples get the larger margin; the exercise asks for the opposite."
    return None


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "4.1": _two_margins,
    "4.2": _gap_margin,
    "4.3": _matched,
    "4.4": _fair,
    "4.5": _options,
}
