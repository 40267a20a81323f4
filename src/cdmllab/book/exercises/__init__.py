"""Checkers for the exercises, which accept correct answers and explain mistakes."""

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["check", "hint", "names"]

# A checker takes the answer and returns None if it is correct, otherwise a hint for the reader.
# Each chapter has a module.
_CHECKERS: dict[str, Callable[[Any], str | None]] = {
    exercise: checker
    for module in pkgutil.iter_modules(__path__)  # `common` has no exercises
    if module.name.startswith("chapter_")
    for exercise, checker in import_module(f"{__name__}.{module.name}").CHECKERS.items()
}


def names() -> tuple[str, ...]:
    """The names of all exercises, as ``"chapter.number"``."""
    return tuple(_CHECKERS)


def hint(exercise: str, answer: object) -> str | None:
    """Return None if the answer is correct, otherwise a hint for the reader.

    Raises
    ------
    ValueError : there is no such exercise
    """
    if exercise not in _CHECKERS:
        raise ValueError(f"there is no exercise {exercise!r}; choose from {', '.join(_CHECKERS)}")
    try:
        return _CHECKERS[exercise](answer)
    except Exception as error:  # an error in the reader's function is part of the feedback
        return f"Your answer raised {type(error).__name__}: {error}"


def check(exercise: str, answer: object) -> None:
    """Check an answer and print one line of feedback; None means that there is no answer yet."""
    problem = hint(exercise, answer)
    if answer is None:
        problem = "waiting for your answer."
    print(f"Exercise {exercise}: {problem or 'correct, well done!'}")
