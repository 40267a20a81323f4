"""Chapter 5, whether a loss knows what is hard."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cdmllab.book.exercises.common import is_number, number


def _spearman(answer: Any) -> str | None:
    if answer == -0.8:
        return "Check the sign: 1 - easiness rises where easiness falls."
    if is_number(answer) and abs(answer - 0.838) < 0.01:
        return "That is the correlation of the values; Spearman's correlates their ranks."
    return number(answer, 0.8, tolerance=1e-6)


def _suspects(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of the easiness and a share."
    rng = np.random.default_rng(0)
    for n, share in ((20, 0.1), (50, 0.3)):
        easiness = rng.uniform(-1, 1, n)
        right = np.sort(np.argsort(easiness)[: round(share * n)])  # the least easy ones
        got = np.asarray(answer(easiness, share))
        if got.shape != right.shape:
            return (
                f"For {n} images and a share of {share} the result should be {len(right)} rows, "
                f"but it has shape {got.shape}."
            )
        # The likely mistakes: the wrong end, and the wrong order.
        if np.array_equal(np.sort(got), np.sort(np.argsort(-easiness)[: len(right)])):
            return "Those are the easiest images, but a wrong label makes an image look hard."
        if not np.array_equal(np.sort(got), right):
            return "These are not the images with the lowest easiness."
        if not np.array_equal(got, right):
            return "Almost: these are the right rows, but they should be in ascending order."
    return None


def _precision(answer: Any) -> str | None:
    # 0.45 is the precision; recognise the recall and the false discovery rate.
    if answer == 0.9:
        return (
            "That is the recall, the share of the wrong labels that were removed. Which share of "
            "the removed images had wrong labels?"
        )
    if is_number(answer) and abs(answer - 0.55) < 0.01:
        return "That is the share of the removed images whose label was right."
    return number(answer, 0.45, tolerance=0.005)


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "5.1": _spearman,
    "5.2": _suspects,
    "5.3": _precision,
}
