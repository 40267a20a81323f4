"""The errors for what a user can put right, the boundary that turns every other one into them, and
hints for names.
"""

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

LONGEST = 300  # characters of a sentence about something foreign
LONGEST_OWN = 1000  # of a complaint of ours, of which a list of names may be a part

_NOT_FAULTS = (KeyboardInterrupt, SystemExit, GeneratorExit)
_WORDS = {  # errors whose own text is empty or says nothing to a user
    RecursionError: "it is nested too deeply",
    MemoryError: "it asks for more memory than there is",
    UnicodeDecodeError: "it is not UTF-8",
}


class CdmlLabError(Exception):
    """A mistake of use, or a run that failed, told in one sentence, without a traceback."""


class DataError(CdmlLabError, ValueError):
    """A data file that is missing or is not what it should be; the sentence names the file, and the
    record or row.
    """


class MissingError(DataError, FileNotFoundError):
    """A data file that does not exist."""


class MissingPackageError(CdmlLabError, ImportError):
    """A package that only some uses need and that is not installed; the sentence names its
    extra.
    """


@contextmanager
def optional(extra: str, what: str) -> Iterator[None]:
    """Import packages of an extra: if one is missing, report the command that installs it.

    Parameters
    ----------
    extra : a key of ``project.optional-dependencies`` in ``pyproject.toml``, as ``"plots"``
    what : needs them, the beginning of a sentence, as ``"a figure"``

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
        raise _missing(extra, what, package) from None


def require(extra: str, what: str, *modules: str) -> None:
    """As `optional`, but for modules that need not be imported yet: they are only looked for."""
    for module in modules:
        if find_spec(module) is None:
            raise _missing(extra, what, module)


def _missing(extra: str, what: str, package: str) -> MissingPackageError:
    return MissingPackageError(
        f'{what} needs {package}, which is not installed: pip install "cdmllab[{extra}]"',
        name=package,
    )


@contextmanager
def reading(path: Path | str, what: str) -> Iterator[None]:
    """Read something foreign: whatever goes wrong inside is a `DataError` of at most `LONGEST`
    characters.

    The project's own errors pass as they are unless they are very long, as do interrupts. Every
    other exception, whatever its base class, becomes a `DataError` that is raised from it, so that
    a reader cannot leak what a library underneath happens to raise.

    Parameters
    ----------
    path : of the file or folder
    what : it should be, as ``"a readable release"``

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
    except BaseException as error:  # Rust's panics are no Exception, nor are some errors of torch
        place = (
            error.filename if isinstance(error, OSError) and error.filename else path
        )  # a file in a folder
        raise DataError(plain(f"{plain(place, 200)} is not {what}: {cause(error)}")) from error


def reader(what: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a function that has a parameter ``path`` read within `reading`, see there."""

    def wrap(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            with reading(signature.bind(*args, **kwargs).arguments["path"], what):
                return function(*args, **kwargs)

        return guarded

    return wrap


def cause(error: BaseException, longest: int = LONGEST) -> str:
    """What an exception says, on one line of at most so many characters; its kind, where it says
    nothing.
    """
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    try:
        said = str(error)
    except Exception:  # its text is made of what was read
        said = ""
    if isinstance(error, CdmlLabError | ValueError) and said:
        return plain(said, longest)
    return plain(f"{said} ({type(error).__name__})" if said else type(error).__name__, longest)


def plain(text: object, longest: int = LONGEST) -> str:
    """A text on one line, fit for any terminal: what cannot be printed is escaped, a long one loses
    its middle.
    """
    said = str(text)
    if len(said) > longest:
        said = f"{said[: longest // 2]} ... {said[-(longest // 2) :]}"
    said = " ".join(said.split())
    if not said.isprintable():
        said = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in said)
    return (
        said
        if len(said) <= longest
        else f"{said[: (longest - 5) // 2]} ... {said[-((longest - 5) // 2) :]}"
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'arcface'?)`` where a known name is near, else nothing: to follow a wrong
    name.
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
