"""The whole way: chapters -> notebooks -> executed notebooks -> site, doing only what is due."""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from cdmllab.book.build import chapters, parallel, site
from cdmllab.book.build.layout import Layout
from cdmllab.book.build.lock import building
from cdmllab.book.build.progress import Progress
from cdmllab.book.build.sync import Changes, sync


def build(
    layout: Layout,
    *,
    given: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    force: bool = False,
    execute: bool = True,
    jobs: int = 1,
    timeout_s: int = 900,
    progress: Progress | None = None,
) -> list[str]:
    """Bring the notebooks, their outputs and the site up to date; the chapters that were run are
    returned.

    Each chapter is kept as soon as it is done, so a build that was stopped goes on where it was.

    Parameters
    ----------
    given : parameters for every chapter that is run
    only : the chapters to run, by name or number (default: all); the site waits until all have been
        run once
    force : run and build also what is up to date
    execute : whether to run chapters at all
    jobs : chapters that are run at a time
    timeout_s : limit for each cell; 0 is none

    Raises
    ------
    CdmlLabError : something stands in the way; what was there before stays
    """
    progress = progress or Progress()
    names = layout.chapters()
    wanted = sorted({layout.chapter(name) for name in only}) or names
    with building(layout):
        site.check_listed(layout, names)
        # before anything is written or run, so that a mistake in any chapter is told first
        plans = [chapters.plan(layout, name, given or {}) for name in wanted]
        report(sync(layout), progress)
        chapters.clear_leftovers(layout)
        due: dict[str, list[str]] = {}
        for plan in plans if execute else []:
            if reasons := plan.reasons or _asked_for(force):
                due[plan.chapter] = reasons
            else:
                progress.line(f"{plan.chapter}: up to date")
        parallel.run_all(
            layout, due, given or {}, jobs=jobs, timeout_s=timeout_s, progress=progress
        )
        waiting = [name for name in names if not layout.output(name).is_file()]
        if only and waiting:
            progress.line(f"site: not built, it waits for {', '.join(waiting)}")
        else:
            _build_site(layout, names, force, progress)
    return list(due)


def report(changes: Changes, progress: Progress) -> None:
    """Say what a sync did."""
    for name in changes.taken:
        progress.line(f"{name}: took the notebook's edits into the chapter")
    for name in changes.written:
        progress.line(f"{name}: wrote its notebook")
    for name in changes.removed:
        progress.line(f"{name}: removed its notebook, the chapter is no more")


def _build_site(layout: Layout, names: Sequence[str], force: bool, progress: Progress) -> None:
    site.check_pages(layout, names)
    index = layout.show(layout.html / "index.html")
    due = site.reasons(layout) or _asked_for(force)
    if not due:
        progress.line(f"site: up to date, {index}")
        return
    progress.line(f"site: {chapters.told(due)}")
    started = monotonic()
    pages = site.build(layout)
    progress.line(f"site: {pages} pages in {monotonic() - started:.1f} s, {index}")


def _asked_for(force: bool) -> list[str]:
    return ["asked for"] if force else []
