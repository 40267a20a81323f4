"""Errors that a user can fix, and the boundary that turns other exceptions into one of them."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LONGEST = 300  # characters of a message about untrusted input
LONGEST_OWN = 1000  # of our own messages, which may contain a list of names

_NOT_FAULTS = (KeyboardInterrupt, SystemExit, GeneratorExit)
_WORDS = {  # errors whose own text is empty or means nothing to a user
    RecursionError: "it is nested too deeply",
    MemoryError: "it asks for more memory than there is",
    UnicodeDecodeError: "it is not UTF-8",
}


class CdmlLabError(Exception):
    """A usage error or a failed run, reported in one sentence without a traceback."""


class DataError(CdmlLabError, ValueError):
    """A missing or malformed data file; the message names the file, and the record or row."""


class MissingError(DataError, FileNotFoundError):
    """A data file that does not exist."""


class MissingPackageError(CdmlLabError, ImportError):
    """An optional package that is not installed; the message names the extra that has it."""


@contextmanager
def optional(extra: str, purpose: str) -> Iterator[None]:
    """Import packages of an extra; if one is missing, name the command that installs it.

    Parameters
    ----------
    extra : a key of ``project.optional-dependencies`` in ``pyproject.toml``, such as ``"plots"``
    purpose : the subject of the message, such as ``"a figure"``

    Raises
    ------
    MissingPackageError : a package outside cdmllab is not installed
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "cdmllab").partition(".")[0]
        if package == "cdmllab" or isinstance(error, CdmlLabError):
            raise
        raise _missing(extra, purpose, package) from None


def require(extra: str, purpose: str, *modules: str) -> None:
    """As `optional`, but only check that the modules exist, without importing them."""
    for module in modules:
        if find_spec(module) is None:
            raise _missing(extra, purpose, module)


def _missing(extra: str, purpose: str, package: str) -> MissingPackageError:
    return MissingPackageError(
        f'{purpose} needs {package}, which is not installed: pip install "cdmllab[{extra}]"',
        name=package,
    )


@contextmanager
def reading(path: Path | str, expected: str) -> Iterator[None]:
    """Turn whatever goes wrong while reading untrusted input into a `DataError`.

    Its message has at most `LONGEST` characters. The project's own errors pass through unless they
    are very long, and so do interrupts. Every other exception, whatever its base class, becomes a
    `DataError` raised from it, so that callers need not know what the libraries underneath raise.

    Parameters
    ----------
    path : of the file or folder
    expected : a noun phrase, such as ``"a readable release"``

    Raises
    ------
    MissingError : the file does not exist
    DataError : it cannot be read
    """
    try:
        yield
    except _NOT_FAULTS:
        raise
    except CdmlLabError as error:
        if len(str(error)) <= LONGEST_OWN:
            raise
        raise DataError(plain(error, LONGEST_OWN)) from error
    except FileNotFoundError as error:
        raise MissingError(f"{plain(error.filename or path, 200)} does not exist") from error
    except BaseException as error:  # panics in Rust and some errors of torch are not Exceptions
        # The path may be a folder, of which an OSError names the file.
        place = error.filename if isinstance(error, OSError) and error.filename else path
        raise DataError(plain(f"{plain(place, 200)} is not {expected}: {cause(error)}")) from error


def reader(expected: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Run a function with a parameter ``path`` inside `reading`."""

    def wrap(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            with reading(signature.bind(*args, **kwargs).arguments["path"], expected):
                return function(*args, **kwargs)

        return guarded

    return wrap


def cause(error: BaseException, longest: int = LONGEST) -> str:
    """The message of an exception on one line, or its type where it has none."""
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    try:
        message = str(error)
    except Exception:  # the text is built from the input, and building it may fail
        message = ""
    if isinstance(error, CdmlLabError | ValueError) and message:
        return plain(message, longest)
    return plain(
        f"{message} ({type(error).__name__})" if message else type(error).__name__, longest
    )


def plain(text: object, longest: int = LONGEST) -> str:
    """Text on one line, safe for any terminal.

    Unprintable characters are escaped, and the middle of a long text is cut out.
    """
    line = str(text)
    if len(line) > longest:
        line = f"{line[: longest // 2]} ... {line[-(longest // 2) :]}"
    line = " ".join(line.split())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return (
        line
        if len(line) <= longest
        else f"{line[: (longest - 5) // 2]} ... {line[-((longest - 5) // 2) :]}"
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint like `` (did you mean 'arcface'?)``; empty if no known name is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
