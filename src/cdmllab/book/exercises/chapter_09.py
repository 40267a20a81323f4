"""Chapter 9, Training every variant."""

import math
from collections.abc import Callable
from typing import Any

from cdmllab.book.exercises.common import is_number, number

_IMAGES, _BATCH, _EPOCHS = 490_623, 128, 40  # CASIA-WebFace


def _steps(answer: Any) -> str | None:
    if answer == _IMAGES // _BATCH:
        return "That is one epoch, and there are 40."
    if answer in (_EPOCHS * math.ceil(_IMAGES / _BATCH), _EPOCHS * _IMAGES // _BATCH):
        return "Almost: the incomplete last batch is dropped in every single epoch."
    return number(answer, _EPOCHS * (_IMAGES // _BATCH), tolerance=0)


def _rate(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of the epoch."
    for epoch in (0, 14, 15, 24, 25, 34, 35, 39):
        right = 0.1 * 0.1 ** sum(epoch >= milestone for milestone in (15, 25, 35))
        got = answer(epoch)
        if not math.isclose(got, right, rel_tol=1e-6):
            late = math.isclose(got, right * 10, rel_tol=1e-6) and epoch in (15, 25, 35)
            hint = (
                " Epochs count from 0, and a milestone is the first epoch with the smaller rate."
                if late
                else ""
            )
            return f"In epoch {epoch} the learning rate is {right:g}, not {got:g}.{hint}"
    return None


def _memory(answer: Any) -> str | None:
    # Centres, gradient and momentum in float32: 93,431 identities of 512 dimensions, in MiB.
    total = 3 * 93_431 * 512 * 4 / 2**20
    if is_number(answer) and math.isclose(answer, total, rel_tol=0.01):
        return "That is the total; eight processes share it."
    if is_number(answer) and math.isclose(answer, total / 24, rel_tol=0.01):
        return "That is the centres alone; their gradient and momentum are each as large."
    return number(answer, total / 8, tolerance=0.5, unit="MiB")


CHECKERS: dict[str, Callable[[Any], str | None]] = {"9.1": _steps, "9.2": _rate, "9.3": _memory}
