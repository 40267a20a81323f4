"""The full build, from chapters to notebooks, outputs and site, skipping what is current."""

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
    """Bring notebooks, outputs and site up to date; return the chapters that were run.

    Each output is stored as soon as its chapter has finished, so an interrupted build resumes where
    it stopped.

    Parameters
    ----------
    given : parameters for every chapter that is run
    only : the chapters to run, by name or number (default: all); the site is built only when every
        chapter has an output
    force : also run and build what is up to date
    execute : whether to run chapters at all
    jobs : number of chapters to run at a time
    timeout_s : limit for each cell in seconds; 0 means no limit

    Raises
    ------
    CdmlLabError : the build failed; the previous outputs and site are unchanged
    """
    progress = progress or Progress()
    names = layout.chapters()
    selected = sorted({layout.chapter(name) for name in only}) or names
    with building(layout):
        site.check_listed(layout, names)
        # Before anything is written or run, so that a mistake in any chapter is reported first.
        plans = [chapters.plan(layout, name, given or {}) for name in selected]
        report(sync(layout), progress)
        chapters.clear_leftovers(layout)
        # The chapters to run, with the reasons to run them.
        due: dict[str, list[str]] = {}
        for plan in plans if execute else []:
            if reasons := plan.reasons or _forced(force):
                due[plan.chapter] = reasons
            else:
                progress.line(f"{plan.chapter}: up to date")
        parallel.run_all(
            layout, due, given or {}, jobs=jobs, timeout_s=timeout_s, progress=progress
        )
        # With `only` some chapters may never have been run: then there is no site yet.
        waiting = [name for name in names if not layout.output(name).is_file()]
        if only and waiting:
            progress.line(f"site: not built; not yet run: {', '.join(waiting)}")
        else:
            _build_site(layout, names, force, progress)
    return list(due)


def report(changes: Changes, progress: Progress) -> None:
    """Print what a sync changed."""
    for name in changes.taken:
        progress.line(f"{name}: copied the notebook's edits to the chapter")
    for name in changes.written:
        progress.line(f"{name}: wrote its notebook")
    for name in changes.removed:
        progress.line(f"{name}: removed its notebook, because the chapter was deleted")


def _build_site(layout: Layout, names: Sequence[str], force: bool, progress: Progress) -> None:
    site.check_pages(layout, names)
    index = layout.show(layout.html / "index.html")
    due = site.reasons(layout) or _forced(force)
    if not due:
        progress.line(f"site: up to date, {index}")
        return
    progress.line(f"site: {chapters.summary(due)}")
    started = monotonic()
    pages = site.build(layout)
    progress.line(f"site: {pages} pages in {monotonic() - started:.1f} s, {index}")


def _forced(force: bool) -> list[str]:
    return ["forced"] if force else []
