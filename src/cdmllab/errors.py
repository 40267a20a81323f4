"""The errors for what a user can put right, and the hint that goes with a wrong name."""

import difflib
from collections.abc import Iterable


class CdmlLabError(Exception):
    """A mistake of use, or a run that failed, told in one sentence, without a traceback."""


class DataError(CdmlLabError, ValueError):
    """A data file that is missing or is not what it should be; the sentence names the file, and the record or row."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'arcface'?)`` where a known name is near, else nothing: to follow a wrong name."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
