"""Locks: one process at a time per config and per run's folder; and how its work ended."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cdmllab._util import failures
from cdmllab._util.files import clear_leftovers
from cdmllab.errors import CdmlLabError, DataError, plain
from cdmllab.runs import Run, root
from cdmllab.training import checkpoint, distributed
from cdmllab.training.config import Config
from cdmllab.training.distributed import Place

LOCK = ".lock"  # in a run's folder
_LOCKS = ".locks"  # in the folder of runs, with a file per config


@contextmanager
def claimed(
    config: Config, within: Path | None, here: Place, report: Callable[[str], None], *, wait: bool
) -> Iterator[bool]:
    """Lock a config in a folder of runs; yields whether this had to wait for another process.

    Parameters
    ----------
    config, within : the config, and the folder; default `cdmllab.runs.root()`
    here : the place of this process. Several that train together never wait, because only the
        first one could say why nothing happens
    report : called with a line before a wait
    wait : for another process; otherwise raise

    Raises
    ------
    CdmlLabError : another process trains this config; names the run. Or the locks are behind a link
    """
    if not here.first:
        yield False
        return
    folder = within or root()
    # Equal configs have equal hashes, and so share a lock.
    named = hashlib.sha256(json.dumps(config.flat(), sort_keys=True).encode()).hexdigest()[:16]
    if (folder / _LOCKS).is_symlink():
        raise DataError(f"{folder / _LOCKS} is a link, but locks lie in the folder of runs itself")
    (folder / _LOCKS).mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCKS / f"{named}.lock")
    waited = False
    # Try without waiting first, to report the reason of a wait.
    try:
        lock.acquire(timeout=0)
    except Timeout:
        message = f"another process is training this config{_where(config, within)}"
        if not wait or here.world_size > 1:
            raise CdmlLabError(f"{message}: wait for it to end") from None
        report(f"{message}; waiting for it to end (--redo trains a second time instead)")
        lock.acquire(poll_interval=0.5)  # seconds
        waited = True
    try:
        yield waited
    finally:
        lock.release()


@contextmanager
def held(run: Run, here: Place, *, again: bool) -> Iterator[None]:
    """Lock a run's folder, and record how the work in it ended.

    Parameters
    ----------
    run, here : the run, and the place of this process
    again : the run was started before

    Raises
    ------
    CdmlLabError : another process works in the folder; or one of several that train together ended
    """
    lock = FileLock(run.folder / LOCK)
    if here.first:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise CdmlLabError(
                f"another process is training in {run.folder}: wait for it to end"
            ) from None
    try:
        if here.first and again:
            # A killed run still says that it is running, and the code may have changed since.
            run.restart()
            clear_leftovers([*run.folder.iterdir(), *run.folder.glob(f"{checkpoint.FOLDER}/.*")])
        yield
    except BaseException as error:
        # An error of the network may only mean that another process has ended.
        reported = distributed.lost(error) or error
        if here.first:
            _ended(run, reported)
        if reported is not error:
            raise reported from error
        raise
    finally:
        lock.release()


def _where(config: Config, within: Path | None) -> str:
    """Where a config is being trained, if its run exists yet."""
    flat = config.flat()
    for run in reversed(list(Run.list(within))):
        if run.status == "running" and run.has(flat):
            return f" in {run.folder}"
    return ""


def _ended(run: Run, error: BaseException) -> None:
    """Record why the work ended; an unexpected error also leaves its traceback."""
    # BrokenPipeError: the reader of the output, such as `head`, has ended.
    interrupted = isinstance(error, KeyboardInterrupt | BrokenPipeError)
    if not interrupted and not isinstance(error, CdmlLabError | OSError):
        failures.keep_traceback(error, run.folder)
    message = plain(f"{type(error).__name__}: {error}", 1000)
    try:
        run.finish("stopped" if interrupted else "failed", error=message)
    except KeyboardInterrupt:  # a process group that is interrupted may get the signal twice
        run.finish("stopped", error=message)
