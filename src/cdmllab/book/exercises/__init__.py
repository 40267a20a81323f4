"""Checkers for the exercises: they accept right answers and say what is wrong with others."""

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["check", "judge", "names"]

# A checker takes the answer and returns None if it is right, else a sentence that helps. Each
# chapter has a module.
_CHECKERS: dict[str, Callable[[Any], str | None]] = {
    exercise: checker
    for found in pkgutil.iter_modules(__path__)
    if found.name.startswith("chapter_")
    for exercise, checker in import_module(f"{__name__}.{found.name}").CHECKERS.items()
}


def names() -> tuple[str, ...]:
    """The exercises there are, as ``"chapter.number"``."""
    return tuple(_CHECKERS)


def judge(exercise: str, answer: object) -> str | None:
    """None if the answer is right, else a sentence that helps.

    Raises
    ------
    ValueError : there is no such exercise
    """
    if exercise not in _CHECKERS:
        raise ValueError(f"there is no exercise {exercise!r}; there are: {', '.join(_CHECKERS)}")
    try:
        return _CHECKERS[exercise](answer)
    except Exception as error:  # whatever a reader's function raises is part of the verdict
        return f"Your answer raised {type(error).__name__}: {error}"


def check(exercise: str, answer: object) -> None:
    """Judge an answer and print one line about it; None is an answer still to come."""
    problem = judge(exercise, answer)
    if answer is None:
        problem = "waiting for your answer."
    print(f"Exercise {exercise}: {problem or 'right.'}")
