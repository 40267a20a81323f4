"""What the processes that do our work have in common."""

import io
import multiprocessing
import os
import sys
import threading
from multiprocessing import process

from cdmllab.errors import CdmlLabError

GUARD = 'put the call under `if __name__ == "__main__":`'


def print_anything() -> None:
    r"""Let no character stop a command: what the output's encoding lacks is printed as ``\u2026``.

    So it is under latin-1 and the C locale, and everywhere for file names that are not UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def end_with_parent() -> None:
    """Called first in a child process: when its parent is killed it ends too, as if it were killed with it."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def refuse_while_imported(what: str) -> None:
    """Refuse work that a script without a main guard begins again in each of its worker processes.

    A worker process first imports the script that started it. What the script does outside
    ``if __name__ == "__main__":`` is then done again, there.

    Raises
    ------
    CdmlLabError : called while a worker process imports its script
    """
    # The flag by which multiprocessing itself refuses to start processes at that moment.
    if getattr(process.current_process(), "_inheriting", False):
        raise CdmlLabError(f"{what} was called while a worker process imports your script: {GUARD}")
