"""Which chapters have to run, why, and running them."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from cdmllab.book.build.fingerprint import Fingerprint, changes, fingerprint
from cdmllab.book.build.layout import RUNNING, Layout
from cdmllab.book.build.notebooks import read_chapter, read_notebook
from cdmllab.book.build.parameters import Parameter, declared, resolve
from cdmllab.book.build.progress import Progress
from cdmllab.errors import CdmlLabError


@dataclass(frozen=True)
class Plan:
    """One chapter as it should be run, and why its output does not do; no reason means that it
    does.
    """

    chapter: str
    notebook: NotebookNode
    declared: Mapping[str, Parameter]
    parameters: Mapping[str, Any]
    fingerprint: Fingerprint
    reasons: list[str]

    @property
    def given(self) -> dict[str, Any]:
        """The parameters that differ from the chapter's own."""
        return {
            name: value
            for name, value in self.parameters.items()
            if value != self.declared[name].default
        }


def plan(layout: Layout, chapter: str, given: Mapping[str, Any]) -> Plan:
    """Compare what a chapter depends on with what its output was made from.

    Raises
    ------
    CdmlLabError : the chapter cannot be read, or does not have a given parameter
    """
    notebook = read_chapter(layout.source(chapter))
    parameters = declared(chapter, notebook)
    values = resolve(chapter, parameters, given)
    now = fingerprint(layout, chapter, notebook, values)
    return Plan(
        chapter, notebook, parameters, values, now, changes(_recorded(layout.output(chapter)), now)
    )


def run(
    step: Plan,
    layout: Layout,
    output: Path,
    reasons: Sequence[str],
    *,
    timeout_s: int,
    progress: Progress,
    told_by: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Run one chapter and write its notebook, with outputs, to `output`.

    Parameters
    ----------
    told_by : called when all has run; kept in the output's metadata beside what it was made from

    Raises
    ------
    ChapterError : it failed; `output` is as it was
    """
    from cdmllab.book.build.execute import execute  # papermill takes seconds to import

    progress.chapter_starts(f"{step.chapter}: {told(reasons)}")
    execute(
        layout,
        step.chapter,
        step.notebook,
        output,
        given=step.given,
        record=lambda: {
            "fingerprint": step.fingerprint,
            "parameters": dict(step.parameters),
            **told_by(),
        },
        timeout_s=timeout_s,
        progress=progress,
    )
    progress.chapter_ends(f"{step.chapter}: {len(step.notebook.cells)} cells")


def clear_leftovers(layout: Layout) -> None:
    """Remove the outputs of chapters that are no more, and what a killed build left behind."""
    chapters = set(layout.chapters())
    for path in layout.executed.glob("*.ipynb"):
        if path.stem not in chapters:
            path.unlink()
    for folder in layout.executed.glob(f"{RUNNING}*"):
        shutil.rmtree(folder, ignore_errors=True)  # its kernel may outlive it for a moment


def told(reasons: Sequence[str]) -> str:
    """Reasons in one line."""
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return "; ".join(reasons[:3]) + more


def _recorded(output: Path) -> Fingerprint | None:
    """What an output was made from; none if there is no output that can be read."""
    try:
        recorded = read_notebook(output).metadata["cdmllab"]["fingerprint"]
    except (CdmlLabError, KeyError, TypeError):
        return None
    return recorded if isinstance(recorded, dict) else None
