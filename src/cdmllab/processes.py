"""What the processes that do our work have in common."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Called first in a child process: when its parent is killed it ends too, as if it were killed with it."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
