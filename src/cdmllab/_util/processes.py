"""How the processes of this package end: signals, exit codes, closed pipes."""

import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import process
from types import FrameType
from typing import Any

from cdmllab.errors import CdmlLabError

GUARD = 'put the call under `if __name__ == "__main__":`'
_PATIENCE_S = 10.0  # to clean up after the first signal; a later one ends the process at once


class Stopped(KeyboardInterrupt):
    """A signal asked this process to end, as Ctrl-C would."""

    def __init__(self, number: int) -> None:
        super().__init__(f"by {signal.Signals(number).name}")
        self.number = number


def exit_code(error: KeyboardInterrupt) -> int:
    """The exit code of a process that a signal ended, by the shell's convention: 128 + number."""
    return 128 + (error.number if isinstance(error, Stopped) else signal.SIGINT)


@contextmanager
def stoppable() -> Iterator[None]:
    """Within the block, SIGTERM and SIGHUP raise `Stopped`, so that work is cleaned up.

    A signal that is already ignored, as under ``nohup``, stays ignored. Outside the main thread
    nothing changes, because only there can handlers be set.
    """
    before = stop_on_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_on_signals() -> dict[int, Any]:
    """As `stoppable`, but permanently; returns the previous handlers."""
    before: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        return before
    began: list[float] = []  # the time of the first signal

    def stop(number: int, _: FrameType | None) -> None:
        # The first signal raises; others are ignored until the time to clean up is over.
        if not began:
            began.append(time.monotonic())
            raise Stopped(number)
        if time.monotonic() - began[0] > _PATIENCE_S:
            os._exit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, stop)
    return before


def print_anything() -> None:
    r"""Print characters that the output's encoding lacks as escapes such as ``\u2026``.

    Without this, a command would fail under latin-1 or the C locale, and anywhere for file names
    that are not UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def end_with_parent() -> None:
    """End this child process when its parent is killed; call it first in the child.

    SIGTERM and SIGHUP raise `Stopped`.
    """
    stop_on_signals()
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            # Returns when the parent has ended, in whatever way.
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def nobody_reads() -> bool:
    """Whether the output is a pipe whose reader has closed it, as ``| head`` does."""
    import select

    try:
        # Without an event to wait for, poll reports only errors and a closed reader.
        poll = select.poll()
        poll.register(sys.__stdout__.fileno(), 0)  # type: ignore[union-attr]
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # no poll on Windows, or no output
        return False


def print_nowhere() -> None:
    """Discard remaining output, about which Python would complain when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # standard output
    os.close(nowhere)


def refuse_while_imported(function: str) -> None:
    """Refuse work that a script without a main guard repeats in each of its worker processes.

    A worker process first imports the script that started it, and so runs everything outside
    ``if __name__ == "__main__":`` again.

    Raises
    ------
    CdmlLabError : called while a worker process imports its script
    """
    # The flag by which multiprocessing itself refuses to start processes at that moment.
    if getattr(process.current_process(), "_inheriting", False):
        raise CdmlLabError(
            f"{function} was called while a worker process imports your script: {GUARD}"
        )


def limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Lower a limit of this process, such as `resource.RLIMIT_CPU`; never above the one in force.

    The process that started this one may have a lower limit, which nobody may raise.

    Parameters
    ----------
    kind : a constant of `resource`
    soft : the limit
    hard : the hard limit; default `soft`
    """
    import resource  # not on Windows, where other functions of this module still work

    most = resource.getrlimit(kind)[1]
    wanted = (soft, soft if hard is None else hard)
    if most != resource.RLIM_INFINITY:
        wanted = (min(wanted[0], most), min(wanted[1], most))
    resource.setrlimit(kind, wanted)
