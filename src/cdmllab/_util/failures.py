"""What a command prints when it fails: one sentence, and where the traceback is kept."""

import sys
import tempfile
import traceback
from pathlib import Path

from cdmllab.errors import LONGEST, LONGEST_OWN, CdmlLabError, cause, plain

_BEGIN = "failed unexpectedly: "
_TRACEBACK = 1 << 20  # characters; the text of an error may be built from the input


def sentence(error: BaseException) -> str:
    """The message for the user; for an unexpected error, with the file that has the traceback."""
    if isinstance(error, CdmlLabError):
        return plain(error, LONGEST_OWN)
    if isinstance(error, OSError) and error.strerror:
        return plain(
            f"{error.strerror}{f': {plain(error.filename, 200)}' if error.filename else ''}"
        )
    # Any other error is unexpected: one sentence for the user, and a file with the traceback.
    path = keep_traceback(error, Path(tempfile.gettempdir()) if _writable() else None)
    where = (
        f"details are in {plain(path, 150)}"
        if path
        else "its details could not be written to a file"
    )
    room = LONGEST - len(_BEGIN) - len(where) - 15  # for the prefix of the command line
    return f"{_BEGIN}{cause(error, room)}; {where}"


def keep_traceback(error: BaseException, folder: Path | None) -> Path | None:
    """Write the traceback of an error into a folder, once; None if it cannot be written.

    Parameters
    ----------
    error : a later call with the same error returns the file of the first
    folder : an existing one; None writes nothing
    """
    known: Path | None = getattr(error, "_cdmllab_traceback", None)
    if known is not None or folder is None:
        return known
    text = "".join(traceback.format_exception(error))[:_TRACEBACK]
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            dir=folder,
            prefix="cdmllab-error-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(f"{plain(sys.argv, 10_000)}\n\n{text}")
    except OSError:
        return None
    path = Path(file.name)
    error._cdmllab_traceback = path  # type: ignore[attr-defined]
    return path


def _writable() -> bool:
    try:
        tempfile.gettempdir()
    except OSError:
        return False
    return True
