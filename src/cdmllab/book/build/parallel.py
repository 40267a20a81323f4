"""Run several chapters at a time in worker processes; each chapter computes on one core."""

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

from cdmllab._util.processes import end_with_parent, print_anything
from cdmllab.book.build import chapters
from cdmllab.book.build.layout import Layout
from cdmllab.book.build.progress import Progress

MOST = 4  # a chapter can need 3 GiB of memory


def jobs_here(profile: str) -> int:
    """How many chapters to run at a time: one per core and at most four, or one for a GPU."""
    return 1 if profile == "gpu" else min(MOST, os.cpu_count() or 1)


def run_all(
    layout: Layout,
    due: Mapping[str, Sequence[str]],
    given: Mapping[str, Any],
    *,
    jobs: int,
    timeout_s: int,
    progress: Progress,
) -> None:
    """Run chapters, `jobs` at a time, and store each output as soon as it is finished.

    After a failure no further chapter is started; its error is raised when the running ones have
    finished.

    Parameters
    ----------
    due : the chapters in order, with the reasons to run each
    given : parameters for all of them

    Raises
    ------
    ChapterError : a chapter failed; its output is unchanged
    """
    # In this process: no worker to start, and progress is shown cell by cell.
    if min(jobs, len(due)) <= 1:
        for chapter, reasons in due.items():
            _run(progress, layout, chapter, given, reasons, timeout_s)
        return
    waiting, running = list(due), set[Future[None]]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(due)), context, initializer=_begin) as workers:
        try:
            # Submit only as many chapters as run, so that after a failure no other one starts.
            while waiting or running:
                while waiting and len(running) < jobs:
                    chapter = waiting.pop(0)
                    running.add(
                        workers.submit(_work, layout, chapter, given, due[chapter], timeout_s)
                    )
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()  # raises the chapter's error
        except KeyboardInterrupt:
            # Workers do not get Ctrl-C from the terminal, so pass it on: each stops its kernel.
            for worker in multiprocessing.active_children():
                if worker.pid:
                    os.kill(worker.pid, signal.SIGINT)
            raise


def _run(
    progress: Progress,
    layout: Layout,
    chapter: str,
    given: Mapping[str, Any],
    reasons: Sequence[str],
    timeout_s: int,
) -> None:
    step = chapters.plan(layout, chapter, given)
    chapters.run(
        step, layout, layout.output(chapter), reasons, timeout_s=timeout_s, progress=progress
    )


def _begin() -> None:
    """Prepare a worker to receive Ctrl-C only from the parent, and only while a chapter runs.

    In its own session it does not get the terminal's SIGINT. `_work` enables the signal while
    there is a kernel to stop and a folder to remove.
    """
    end_with_parent()
    print_anything()
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(layout: Layout, chapter: str, *rest: Any) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _run(Progress(chapter=chapter), layout, chapter, *rest)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
