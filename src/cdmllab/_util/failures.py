"""What a command says when it fails: one sentence, and where the rest can be read."""

import sys
import tempfile
import traceback
from pathlib import Path

from cdmllab.errors import LONGEST, LONGEST_OWN, CdmlLabError, cause, plain

_BEGIN = "failed unexpectedly: "
_TRACEBACK = 1 << 20  # characters; the text of an error may be made of what was read


def sentence(error: BaseException) -> str:
    """What to tell the user: the complaint itself, or that something unexpected happened and where
    it is written.
    """
    if isinstance(error, CdmlLabError):
        return plain(error, LONGEST_OWN)
    if isinstance(error, OSError) and error.strerror:
        return plain(
            f"{error.strerror}{f': {plain(error.filename, 200)}' if error.filename else ''}"
        )
    path = keep_traceback(error, Path(tempfile.gettempdir()) if _writable() else None)
    where = (
        f"details are in {plain(path, 150)}"
        if path
        else "its details could not be written to a file"
    )
    room = LONGEST - len(_BEGIN) - len(where) - 15  # for what the command line puts before it
    return f"{_BEGIN}{cause(error, room)}; {where}"


def keep_traceback(error: BaseException, folder: Path | None) -> Path | None:
    """Write an error's traceback into a folder, once; its file, or None where it could not be
    written.

    Parameters
    ----------
    error : a later call with the same one gives the file of the first
    folder : that is there; None writes nothing
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
