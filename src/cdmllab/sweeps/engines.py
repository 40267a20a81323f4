"""Engines that run the tasks of a sweep: local processes, or the workers of a Ray cluster."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from cdmllab._util.processes import end_with_parent
from cdmllab.data import paths
from cdmllab.errors import CdmlLabError, optional
from cdmllab.runs import root
from cdmllab.sweeps.task import Outcome, Task, carry_out


class Engine(Protocol):
    """Runs tasks.

    Attributes
    ----------
    room : the number of tasks that it accepts at a time
    """

    room: int

    def submit(self, task: Task) -> "Future[Outcome]":
        """Start a task; the future has its outcome, or the error that ended it."""


class Local:
    """`room` local processes with one task each; a process that dies is replaced.

    Each process is a pool of one, so that the death of a process does not end the other tasks.
    """

    def __init__(self, room: int, within: Path | None) -> None:
        self.room, self.within = room, within
        self._started: list[ProcessPoolExecutor] = []
        self._idle: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()
        for _ in range(room):
            self._idle.put(self._process())

    def submit(self, task: Task) -> "Future[Outcome]":
        """Start a task."""
        # A process is idle again after its future's callback, which may be a moment later.
        process = self._idle.get()
        future = process.submit(carry_out, task, self.within)
        # A pool whose process has died cannot be used again: a new one takes its place.
        future.add_done_callback(
            lambda done: self._idle.put(self._process() if _failed(done) else process)
        )
        return future

    def close(self) -> None:
        """End the processes. Busy ones get SIGTERM, so that their runs are recorded as stopped."""
        # Idle processes end with their pool; only busy ones need a signal.
        idle = set()
        while not self._idle.empty():
            idle.add(self._idle.get())
        for pool in self._started:
            if pool not in idle:
                # A pool does not list its processes publicly.
                for process in list((getattr(pool, "_processes", None) or {}).values()):
                    process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)

    def _process(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=end_with_parent
        )
        self._started.append(pool)
        return pool


class Ray:
    """The workers of a Ray cluster.

    A task takes as many cores as its config has threads, and a GPU if its device is cuda. All
    machines must have the same folders of runs and data under the same paths. The sweep retries
    tasks, so Ray itself does not.
    """

    def __init__(self, ray: Any, within: Path | None) -> None:
        self._ray, self.within = ray, str((within or root()).resolve())
        # As many tasks as there are cores; Ray queues those that need more.
        self.room = max(1, int(ray.cluster_resources().get("CPU", 1)))
        # The sweep itself restarts tasks whose process died, see `Spec.retries`.
        self._remote = ray.remote(max_retries=0, retry_exceptions=False)(_carry_out)

    def submit(self, task: Task) -> "Future[Outcome]":
        """Start a task, or queue it in Ray until there is room."""
        needs = {
            "num_cpus": task.config["threads"],
            "num_gpus": 1 if task.config["device"] == "cuda" else 0,
        }
        done: Future[Outcome] = (
            self._remote.options(name=task.name, **needs).remote(task, self.within).future()
        )
        return done


@contextmanager
def local(workers: int, within: Path | None = None) -> Iterator[Engine]:
    """Start an engine of local processes."""
    engine = Local(workers, within)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def ray(address: str, within: Path | None = None) -> Iterator[Engine]:
    """Connect to the Ray cluster at an address; ``"local"`` starts one on this machine.

    Raises
    ------
    CdmlLabError : Ray is not installed, or there is no cluster at this address
    """
    with optional("ray", "--ray"):
        import ray as library
    handler = signal.getsignal(signal.SIGTERM)
    try:
        library.init(
            address=address,
            log_to_driver=False,
            # Only a cluster that is started here has this option.
            include_dashboard=False if address == "local" else None,
            runtime_env={"env_vars": _environment(within)},
        )
    # A bare Exception is what Ray raises if its own processes take over half a minute to start.
    except Exception as error:
        raise CdmlLabError(f"no Ray cluster at {address}: {error}") from None
    finally:
        # Ray replaces the handler with its own, which would end a command without a record.
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
    try:
        yield Ray(library, within)
    finally:
        library.shutdown()


def _carry_out(task: Task, within: str) -> Outcome:
    return carry_out(task, Path(within))


def died(error: BaseException | None) -> bool:
    """Whether a task ended because its process or machine died, not because the task failed."""
    # Without Ray in use it cannot be Ray's error, and importing Ray takes seconds.
    if "ray" in sys.modules and isinstance(error, _ray_deaths()):
        return True
    return isinstance(error, BrokenProcessPool)


def _ray_deaths() -> tuple[type[BaseException], ...]:
    from ray import exceptions as e

    return (
        e.WorkerCrashedError,
        e.NodeDiedError,
        e.LocalRayletDiedError,
        e.ObjectLostError,
        e.OutOfMemoryError,
    )


def _failed(done: "Future[Outcome]") -> bool:
    return not done.cancelled() and died(done.exception())


def _environment(within: Path | None) -> dict[str, str]:
    """Environment variables for the workers: absolute paths of the folders of runs and data."""
    variables = {"CDMLLAB_RUNS": str((within or root()).resolve())}
    if folders := os.environ.get(paths.VARIABLE):
        variables[paths.VARIABLE] = os.pathsep.join(
            str(Path(folder).resolve()) for folder in folders.split(os.pathsep) if folder
        )
    return variables
