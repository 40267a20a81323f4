"""Who trains what: one process at a time for each config and in each run's folder, and how its work
ended.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cdmllab._util import failures
from cdmllab._util.files import clear_leftovers
from cdmllab.errors import CdmlLabError, plain
from cdmllab.runs import Run, root
from cdmllab.training import checkpoint, distributed
from cdmllab.training.config import Config
from cdmllab.training.distributed import Place

LOCK = ".lock"  # in a run's folder
_LOCKS = ".locks"  # in the folder of runs, with a file for each config


@contextmanager
def claimed(
    config: Config, within: Path | None, here: Place, tell: Callable[[str], None], *, wait: bool
) -> Iterator[bool]:
    """Be the only process that trains this config in a folder of runs; whether another had to be
    waited for.

    Parameters
    ----------
    config, within : what is trained, and the folder; default `cdmllab.runs.root()`
    here : which process this is. Several that train together never wait: those that started with
        the first would not know why nothing happens
    tell : is called with a line before a wait
    wait : for another process; otherwise it is an error

    Raises
    ------
    CdmlLabError : another process trains this config; names the run
    """
    if not here.first:
        yield False
        return
    folder = within or root()
    named = hashlib.sha256(json.dumps(config.flat(), sort_keys=True).encode()).hexdigest()[:16]
    (folder / _LOCKS).mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCKS / f"{named}.lock")
    waited = False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        about = f"another process is training this config{_where(config, within)}"
        if not wait or here.world_size > 1:
            raise CdmlLabError(f"{about}: wait for it to end") from None
        tell(f"{about}; waiting for it to end (--redo would train it twice)")
        lock.acquire(poll_interval=0.5)
        waited = True
    try:
        yield waited
    finally:
        lock.release()


@contextmanager
def held(run: Run, here: Place, *, again: bool) -> Iterator[None]:
    """Be the only process that works in a run's folder, and keep in its record how the work ended.

    Parameters
    ----------
    run, here : the run, and which process this is
    again : the run was begun before

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
        if (
            here.first and again
        ):  # a killed run's record says that it runs; the code may be another all the same
            run.restart()
            clear_leftovers([*run.folder.iterdir(), *run.folder.glob(f"{checkpoint.FOLDER}/.*")])
        yield
    except BaseException as error:
        meant = distributed.lost(error) or error
        if here.first:
            _ended(run, meant)
        if meant is not error:
            raise meant from error
        raise
    finally:
        lock.release()


def _where(config: Config, within: Path | None) -> str:
    """The run that is at work on a config, if it can be seen yet."""
    wanted = config.flat()
    for run in reversed(list(Run.list(within))):
        if run.status == "running" and run.config == wanted:
            return f" in {run.folder}"
    return ""


def _ended(run: Run, error: BaseException) -> None:
    """Write why the work ended; what nobody expected, with its traceback beside it."""
    asked = isinstance(error, KeyboardInterrupt | BrokenPipeError)
    if not asked and not isinstance(error, CdmlLabError | OSError):
        failures.keep_traceback(error, run.folder)
    said = plain(f"{type(error).__name__}: {error}", 1000)
    try:
        run.finish("stopped" if asked else "failed", error=said)
    except (
        KeyboardInterrupt
    ):  # a whole group of processes that is told to end hears it more than once
        run.finish("stopped", error=said)
