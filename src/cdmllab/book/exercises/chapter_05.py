"""Chapter 5, whether a loss knows what is hard."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cdmllab.book.exercises.common import is_number, number


def _spearman(answer: Any) -> str | None:
    if answer == -0.8:
        return "The sign: 1 - easiness rises where easiness falls."
    if is_number(answer) and abs(answer - 0.838) < 0.01:
        return "That correlates the values; Spearman's takes their ranks."
    return number(answer, 0.8, tolerance=1e-6)


def _suspects(answer: Any) -> str | None:
    if not callable(answer):
        return "A function of the easiness and a share is wanted."
    rng = np.random.default_rng(0)
    for n, share in ((20, 0.1), (50, 0.3)):
        easiness = rng.uniform(-1, 1, n)
        right = np.sort(np.argsort(easiness)[: round(share * n)])
        got = np.asarray(answer(easiness, share))
        if got.shape != right.shape:
            return (
                f"Of {n} images and a share of {share} come {len(right)} rows, not an answer of "
                f"shape {got.shape}."
            )
        if np.array_equal(np.sort(got), np.sort(np.argsort(-easiness)[: len(right)])):
            return "Those are the easiest; a wrong label looks hard."
        if not np.array_equal(np.sort(got), right):
            return "These are not the images with the lowest easiness."
        if not np.array_equal(got, right):
            return "The right rows, but they should come in rising order."
    return None


def _precision(answer: Any) -> str | None:
    if answer == 0.9:
        return (
            "That is the recall: how many of the wrong labels were found. Of what was removed, "
            "how much was wrong?"
        )
    if is_number(answer) and abs(answer - 0.55) < 0.01:
        return "That is the share of what was removed that was right."
    return number(answer, 0.45, tolerance=0.005)


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "5.1": _spearman,
    "5.2": _suspects,
    "5.3": _precision,
}
