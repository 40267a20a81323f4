"""Several chapters at a time, each worker a process of its own; a chapter computes on one core."""

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

MOST = 4  # a chapter can take 3 GiB


def jobs_here(profile: str) -> int:
    """How many chapters at a time this machine takes: one a core and four at most; one where they
    share a GPU.
    """
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
    """Run chapters, `jobs` at a time, keeping each as soon as it is done.

    When one fails no other is begun, those at work are finished, and then its error is raised.

    Parameters
    ----------
    due : the chapters in their order, and why each has to run
    given : parameters for all of them

    Raises
    ------
    ChapterError : one failed; its output is as it was
    """
    if min(jobs, len(due)) <= 1:
        for chapter, reasons in due.items():
            _run(progress, layout, chapter, given, reasons, timeout_s)
        return
    waiting, running = list(due), set[Future[None]]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(due)), context, initializer=_begin) as workers:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    chapter = waiting.pop(0)
                    running.add(
                        workers.submit(_work, layout, chapter, given, due[chapter], timeout_s)
                    )
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        except KeyboardInterrupt:
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
    """Hear of Ctrl-C once, from the parent, and only while there is a kernel to end and a folder to
    clear.
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
