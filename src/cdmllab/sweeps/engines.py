"""Where the tasks of a sweep are done: processes of this machine, or the workers of a Ray
cluster.
"""

import multiprocessing
import os
import sys
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
    """Something that does tasks.

    Attributes
    ----------
    room : how many tasks it takes at a time
    """

    room: int

    def submit(self, task: Task) -> "Future[Outcome]":
        """Begin a task; the future has its outcome, or the error that ended it."""


class Local:
    """`room` processes on this machine, each with one task at a time; one that dies is replaced.

    Every process is a pool of its own: what kills one task leaves the others alone.
    """

    def __init__(self, room: int, within: Path | None) -> None:
        self.room, self.within = room, within
        self._started: list[ProcessPoolExecutor] = []
        self._idle: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()
        for _ in range(room):
            self._idle.put(self._process())

    def submit(self, task: Task) -> "Future[Outcome]":
        """Begin a task."""
        process = self._idle.get()
        future = process.submit(carry_out, task, self.within)
        future.add_done_callback(
            lambda done: self._idle.put(self._process() if _failed(done) else process)
        )
        return future

    def close(self) -> None:
        """End the processes. Those at work are asked to stop, so that their runs say that
        they did.
        """
        idle = set()
        while not self._idle.empty():
            idle.add(self._idle.get())
        for pool in self._started:
            if pool not in idle:
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
    """The workers of a Ray cluster; each task takes as many cores as its config has threads, and a
    GPU if it says cuda.

    The folders of runs and data have to be the same ones, by the same paths, on all machines.
    Retries are the sweep's, so Ray itself makes none.
    """

    def __init__(self, ray: Any, within: Path | None) -> None:
        self._ray, self.within = ray, str((within or root()).resolve())
        self.room = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._remote = ray.remote(max_retries=0, retry_exceptions=False)(_carry_out)

    def submit(self, task: Task) -> "Future[Outcome]":
        """Begin a task, or leave it with Ray until there is room."""
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
    """Processes of this machine."""
    engine = Local(workers, within)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def ray(address: str, within: Path | None = None) -> Iterator[Engine]:
    """A Ray cluster, by its address; ``"local"`` starts one on this machine.

    Raises
    ------
    CdmlLabError : Ray is not installed, or there is no cluster at this address
    """
    with optional("ray", "--ray"):
        import ray as found
    try:
        found.init(
            address=address,
            log_to_driver=False,
            include_dashboard=False if address == "local" else None,
            runtime_env={"env_vars": _environment(within)},
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise CdmlLabError(f"there is no Ray cluster at {address}: {error}") from None
    try:
        yield Ray(found, within)
    finally:
        found.shutdown()


def _carry_out(task: Task, within: str) -> Outcome:
    return carry_out(task, Path(within))


def died(error: BaseException | None) -> bool:
    """Whether what ended a task is the death of its process or machine, not the task's own
    failure.
    """
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
    """What the workers have to know of this process: its folders of runs and data, from wherever
    they look.
    """
    told = {"CDMLLAB_RUNS": str((within or root()).resolve())}
    if folders := os.environ.get(paths.VARIABLE):
        told[paths.VARIABLE] = os.pathsep.join(
            str(Path(folder).resolve()) for folder in folders.split(os.pathsep) if folder
        )
    return told
