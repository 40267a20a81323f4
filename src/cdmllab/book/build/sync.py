"""Keep `notebooks/` in sync with `book/chapters/`."""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nbformat import NotebookNode

from cdmllab._util.files import write_text
from cdmllab.book.build import notebooks
from cdmllab.book.build.layout import Layout
from cdmllab.errors import CdmlLabError

Kind = Literal["missing", "stale", "orphan", "outputs", "edited"]


@dataclass(frozen=True)
class Problem:
    """A notebook that is out of sync, with a sentence that explains how."""

    notebook: str
    kind: Kind
    sentence: str


@dataclass(frozen=True)
class SyncReport:
    """The result of a check."""

    chapters: int
    notebooks: int
    problems: list[Problem]


@dataclass
class Changes:
    """The changes made by a sync, by notebook name."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)


def check(layout: Layout) -> SyncReport:
    """Compare every notebook with its chapter; nothing is written."""
    chapters, existing = layout.chapters(), _notebook_names(layout)
    problems = (_problem(layout, name) for name in sorted({*chapters, *existing}))
    return SyncReport(len(chapters), len(existing), [problem for problem in problems if problem])


def sync(layout: Layout, *, take_edits: bool = False) -> Changes:
    """Write the notebooks that differ from their chapters and remove those without one.

    With `take_edits`, manual edits of a notebook are first copied to its chapter.

    Raises
    ------
    CdmlLabError : a notebook has edits that its chapter lacks and `take_edits` is False, or the
        chapter was edited as well; nothing is written
    """
    # Edits of notebooks are never overwritten: they are taken, or the sync stops.
    problems = check(layout).problems
    edited = [problem for problem in problems if problem.kind == "edited"]
    if edited and not take_edits:
        raise CdmlLabError(edited[0].sentence)
    changes = Changes()
    # All of them are checked before anything is written.
    for problem in edited:
        _reject_two_edits(layout, problem.notebook)
    for problem in edited:
        notebook = notebooks.read_notebook(layout.notebook(problem.notebook))
        write_text(layout.source(problem.notebook), notebooks.as_chapter(notebook))
        changes.taken.append(problem.notebook)
    for name in layout.chapters():
        # What the file should read.
        text = notebooks.as_text(notebooks.read_chapter(layout.source(name)))
        path = layout.notebook(name)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            changes.unchanged.append(name)
        else:
            write_text(path, text)
            changes.written.append(name)
        _not_newer(path, layout.source(name))
    for name in sorted(set(_notebook_names(layout)) - set(layout.chapters())):
        layout.notebook(name).unlink()
        changes.removed.append(name)
    return changes


def _not_newer(notebook: Path, chapter: Path) -> None:
    """Set the time of a notebook that is newer than its chapter to the chapter's time.

    JupyterLab considers a newer notebook to be edited without its chapter: unless both agree to the
    last blank line it refuses to open the chapter, and recommends deleting it.
    """
    time = chapter.stat().st_mtime_ns
    if notebook.stat().st_mtime_ns > time:
        with suppress(OSError):  # the file belongs to another user
            os.utime(notebook, ns=(time, time))


def _notebook_names(layout: Layout) -> list[str]:
    return sorted(path.stem for path in layout.notebooks.glob("*.ipynb"))


def _problem(layout: Layout, name: str) -> Problem | None:
    """The most serious problem of a notebook, or None."""
    path, source = layout.notebook(name), layout.source(name)
    label = layout.show(path)
    if not path.is_file():
        return Problem(name, "missing", f"{label} is missing: write it with `cdmllab book sync`")
    expected = notebooks.read_chapter(source) if source.is_file() else None
    # The most serious problem first: edits would be lost, the rest is repaired by a sync.
    notebook = notebooks.read_notebook(path)
    if not notebooks.is_generated(notebook) and (
        expected is None or notebooks.contents(notebook) != notebooks.contents(expected)
    ):
        return Problem(
            name,
            "edited",
            f"{label} has edits that {layout.show(source)} lacks{_first_edit(notebook)}: copy "
            "them to the chapter with `cdmllab book sync --take-edits`, or delete the notebook to "
            "discard them",
        )
    if expected is None:
        return Problem(name, "orphan", f"{label} has no chapter: `cdmllab book sync` removes it")
    if any(cell.get("outputs") for cell in notebook.cells):
        return Problem(
            name, "outputs", f"{label} contains outputs: clear them with `cdmllab book sync`"
        )
    if path.read_text(encoding="utf-8") != notebooks.as_text(expected):
        return Problem(
            name, "stale", f"{label} differs from its chapter: update it with `cdmllab book sync`"
        )
    return None


def _reject_two_edits(layout: Layout, name: str) -> None:
    """Raise if a chapter was edited after its edited notebook was generated.

    The notebook's cells still have the ids of the chapter that they were generated from.
    """
    source = layout.source(name)
    if not source.is_file():
        return
    # Ids follow from content, so a chapter's cell whose id
    # is missing was edited after the notebook was generated.
    kept = {cell.get("id") for cell in notebooks.read_notebook(layout.notebook(name)).cells}
    chapter = notebooks.read_chapter(source)
    changed = [
        number
        for number, (cell, cell_id) in enumerate(
            zip(chapter.cells, notebooks.cell_ids(chapter), strict=True), start=1
        )
        if cell_id not in kept
    ]
    if changed:
        raise CdmlLabError(
            f"{layout.show(layout.notebook(name))} was edited, and so was {layout.show(source)} "
            f"(its cell {changed[0]} is not in the notebook): merge the edits manually, then "
            "delete the notebook"
        )


def _first_edit(notebook: NotebookNode) -> str:
    for number, (cell, cell_id) in enumerate(
        zip(notebook.cells, notebooks.cell_ids(notebook), strict=True), start=1
    ):
        if cell.get("id") != cell_id:
            return f" (first in cell {number})"
    return ""
