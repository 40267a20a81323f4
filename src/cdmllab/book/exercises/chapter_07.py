"""Chapter 7, Data, from record to tensor."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cdmllab.book.exercises.common import is_whole, number
from cdmllab.data.recordio import WORD, frame


def _bytes_in_file(answer: Any) -> str | None:
    right = len(frame(b"x" * 1001))  # of a payload of 1001 bytes
    near = {
        1001: "That is the payload alone; every record begins with two words.",
        1009: "The header is included; now pad the record to a multiple of 4.",
        1004: "The padding is included; now add the two words before the payload.",
        1033: "The 24 bytes of an image record's header are already part of the payload.",
    }
    problem = number(answer, right, tolerance=0.0, unit="bytes")
    return near.get(answer, problem) if problem and is_whole(answer) else problem


# Payloads with the magic word at no, one or two multiples of four, and in between.
_PAYLOADS: tuple[tuple[bytes, int], ...] = (
    (b"", 1),
    (b"abcdefgh", 1),
    (WORD, 2),
    (b"abcd" + WORD + b"ef", 2),
    (b"abcd" + WORD + WORD + b"e", 3),
    (b"ab" + WORD + b"cdefgh", 1),
    (b"abc" + WORD + b"d" + WORD, 2),
)


def _parts(answer: Any) -> str | None:
    if not callable(answer):
        return (
            "Please give a function that takes a payload (bytes) and returns its number of parts."
        )
    for payload, right in _PAYLOADS:
        got = answer(payload)
        if got == right:
            continue
        if got == payload.count(WORD) + 1:
            return (
                f"{payload!r} has {right} part{'s' * (right > 1)}: the magic word counts only at a "
                f"multiple of 4."
            )
        if got == right - 1:
            return f"{payload!r} has {right} part{'s' * (right > 1)}: n cuts make n + 1 parts."
        return f"{payload!r} has {right} part{'s' * (right > 1)}, not {got!r}."
    return None


def _training_rows(answer: Any) -> str | None:
    if not callable(answer):
        return (
            "Please give a function that takes labels and pairs (two arrays of rows) and returns "
            "rows."
        )
    labels = np.array([0, 0, 1, 1, 1, 2, 3, 3, 4])
    first, second = np.array([0, 2]), np.array([1, 5])  # person 0 twice; persons 1 and 2
    got = sorted(int(row) for row in answer(labels.copy(), first.copy(), second.copy()))
    if got == [6, 7, 8]:  # of persons 3 and 4
        return None
    if set(got) == set(range(9)) - {0, 1, 2, 5}:
        return (
            "The images of the pairs are removed, but other images of the same people are still "
            "included."
        )
    if set(got) & {0, 1, 2, 3, 4, 5}:
        return f"Row {min(got)} shows a person who is also in the pairs."
    return f"Rows {sorted({6, 7, 8} - set(got))} are missing, although their people are in no pair."


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "7.1": _bytes_in_file,
    "7.2": _parts,
    "7.3": _training_rows,
}
