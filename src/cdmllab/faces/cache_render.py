"""Render the missing chunks of a world's cache: on a GPU, in this process, or in several."""

import multiprocessing
from collections import deque
from collections.abc import Callable
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cdmllab._util.processes import GUARD, end_with_parent
from cdmllab.errors import CdmlLabError
from cdmllab.faces.cache_files import World, append_finished, chunks, write_chunk

_WRITERS = 4  # threads that write to the disk while a GPU renders

Finished = Callable[[int, int], None]  # called with a chunk's number and checksum


def render_chunks(
    world: World,
    folder: Path,
    missing: list[int],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Render chunks, given by their numbers, into an ``images.u8`` that has its full length.

    Raises
    ------
    CdmlLabError : a worker process has ended unexpectedly
    """
    rows = list(chunks(world))
    # Images of an earlier, stopped rendering.
    ready = len(world) - sum(rows[number].stop - rows[number].start for number in missing)

    # Only this process appends to the journal, so its lines never interleave.
    def finished(number: int, checksum: int) -> None:
        nonlocal ready
        append_finished(folder, number, checksum)
        ready += rows[number].stop - rows[number].start
        if progress is not None:
            progress(ready, len(world))

    slices = {number: rows[number] for number in missing}
    # A GPU is kept busy by one process; with one worker, or one chunk, a second process is no gain.
    if world.device.type != "cpu":
        _render_on_device(world, folder, slices, finished)
    elif workers <= 1 or len(missing) == 1:
        for number, chunk in slices.items():
            finished(number, _render_chunk(world, folder, chunk))
    else:
        _render_in_processes(world, folder, slices, workers, finished)


def _render_on_device(
    world: World, folder: Path, slices: dict[int, slice], finished: Finished
) -> None:
    # The device renders the next chunk while threads write earlier ones; the queue is bounded so
    # that a slow disk does not fill the memory with pixels.
    with ThreadPoolExecutor(_WRITERS) as writers:
        writing: deque[tuple[int, Future[int]]] = deque()
        for number, chunk in slices.items():
            pixels = world.read(_rows(chunk))
            writing.append((number, writers.submit(write_chunk, world, folder, chunk, pixels)))
            if len(writing) > _WRITERS:
                done, future = writing.popleft()
                finished(done, future.result())
        for done, future in writing:
            finished(done, future.result())


def _render_in_processes(
    world: World, folder: Path, slices: dict[int, slice], workers: int, finished: Finished
) -> None:
    # Not "fork": the locks of torch's running threads would be copied in whatever state they are.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(slices)), context, initializer=_start_worker) as pool:
        waiting: dict[Future[int], int] = {
            pool.submit(_render_chunk, world, folder, chunk): number
            for number, chunk in slices.items()
        }
        try:
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    finished(waiting.pop(future), future.result())
        except BrokenProcessPool:
            raise CdmlLabError(
                f"a process that was rendering into {folder} ended unexpectedly: it was killed, it "
                f"ran out of memory, or your script starts its work outside its main guard. In "
                f"that case {GUARD}"
            ) from None
        # For instance Ctrl-C: drop the waiting chunks instead of rendering them first.
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start_worker() -> None:
    end_with_parent()
    torch.set_num_threads(1)  # one process per core already


def _render_chunk(world: World, folder: Path, chunk: slice) -> int:
    """Render one chunk into the file and return its checksum."""
    return write_chunk(world, folder, chunk, world.read(_rows(chunk)))


def _rows(chunk: slice) -> NDArray[np.int64]:
    return np.arange(chunk.start, chunk.stop)
