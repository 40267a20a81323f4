"""Chapter 10, Seeing the hypersphere."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cdmllab.analysis import sphere
from cdmllab.book.exercises.common import number


def _simplex(answer: Any) -> str | None:
    right = sphere.bound_deg(6, 64)  # the simplex: acos(-1 / 5)
    problem = number(answer, right, tolerance=0.05, unit="degrees")
    if problem and number(answer, math.radians(right), tolerance=1e-3) is None:
        return "That is the right angle, but in radians; please give it in degrees."
    if problem and number(answer, 90.0, tolerance=0.05) is None:
        return "Six centres can do better than right angles: their sum can be zero."
    if problem and number(answer, math.degrees(math.acos(-1 / 6)), tolerance=0.05) is None:
        return "Almost: each of the six centres has five others, not six."
    return problem


def _nearest(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of centres [c, d]."
    # Lengths that differ and are far from 1, so that a forgotten normalisation shows.
    centres = np.random.default_rng(10).normal(size=(7, 4)) * np.linspace(0.1, 0.4, 7)[:, None]
    got, want = np.asarray(answer(centres.copy()), dtype=np.float64), sphere.nearest_deg(centres)
    if got.shape != (7,):
        return f"For 7 centres the result should have shape (7,), but it has {got.shape}."
    if np.allclose(got, want, atol=1e-4):
        return None
    if np.allclose(got, 0.0, atol=1e-4):
        return "Your function finds each centre to be nearest to itself: exclude the diagonal."
    if np.allclose(got, np.radians(want), atol=1e-4):
        return "The angles are right, but in radians; please return degrees."
    # The same without normalisation: recognise the mistake by its result.
    inner = centres @ centres.T
    np.fill_diagonal(inner, -np.inf)
    if np.allclose(got, np.degrees(np.arccos(inner.max(axis=1).clip(-1, 1))), atol=1e-4):
        return (
            "Your inner products depend on the lengths of the centres: scale each to length 1 "
            "first."
        )
    return (
        f"The nearest neighbour of the first centre is at {want[0]:.1f} degrees, but your function "
        f"returns {got[0]:.1f}."
    )


def _scatter(answer: Any) -> str | None:
    right = math.degrees(1 / math.sqrt(512))  # of the angle between random directions
    problem = number(answer, right, tolerance=0.03, unit="degrees")
    if problem and number(answer, 1 / math.sqrt(512), tolerance=1e-3) is None:
        return (
            "That is the standard deviation of the cosine, or of the angle in radians; please give "
            "it in degrees."
        )
    if problem and number(answer, math.degrees(1 / 512), tolerance=1e-3) is None:
        return "The variance of the cosine is 1 / d; the standard deviation is its square root."
    return problem


def _dimensions(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of embeddings [n, d]."
    rng = np.random.default_rng(10)
    # A cloud of five different spreads, away from the origin and of different lengths.
    x = (rng.normal(size=(60, 5)) * np.array([3, 2, 1, 0.3, 0.1]) + 2.0) * rng.uniform(
        1, 5, (60, 1)
    )
    got, want = float(answer(x.copy())), sphere.effective_dim(sphere.spectrum(x))
    if math.isclose(got, want, rel_tol=1e-4):
        return None
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    # Compute the result of each likely mistake, and compare.
    for hint, points, power in (
        ("Subtract the mean direction first.", unit, 2),
        ("The lengths of the embeddings still count: normalise first.", x - x.mean(axis=0), 2),
        (
            "Your shares are those of singular values; a variance is the square of one.",
            unit - unit.mean(axis=0),
            1,
        ),
    ):
        share = np.linalg.svd(points, compute_uv=False) ** power
        if math.isclose(got, share.sum() ** 2 / (share**2).sum(), rel_tol=1e-4):
            return hint
    return f"For our test embeddings with 5 dimensions it should be {want:.3f}, not {got:.3f}."


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "10.1": _simplex,
    "10.2": _scatter,
    "10.3": _nearest,
    "10.4": _dimensions,
}
