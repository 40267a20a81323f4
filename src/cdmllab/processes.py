"""What the processes that do our work have in common."""

import multiprocessing
import os
import threading
from multiprocessing import process

from cdmllab.errors import CdmlLabError

GUARD = 'put the call under `if __name__ == "__main__":`'


def end_with_parent() -> None:
    """Called first in a child process: when its parent is killed it ends too, as if it were killed with it."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def refuse_while_imported(what: str) -> None:
    """Refuse work that a script without a main guard begins once more in each of its worker processes.

    A worker process first imports the script that started it. What the script does outside
    ``if __name__ == "__main__":`` is then done again, there.

    Raises
    ------
    CdmlLabError : called while a worker process imports its script
    """
    # The flag by which multiprocessing itself refuses to start processes at that moment.
    if getattr(process.current_process(), "_inheriting", False):
        raise CdmlLabError(f"{what} was called while a worker process imports your script: {GUARD}")
