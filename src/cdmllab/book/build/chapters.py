"""Decide which chapters have to run and why, and run them."""

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
    """A chapter as it would be run, and the reasons to run it; none if it is up to date."""

    chapter: str
    notebook: NotebookNode
    declared: Mapping[str, Parameter]
    parameters: Mapping[str, Any]
    fingerprint: Fingerprint
    reasons: list[str]

    @property
    def given(self) -> dict[str, Any]:
        """The parameters that differ from the chapter's defaults."""
        return {
            name: value
            for name, value in self.parameters.items()
            if value != self.declared[name].default
        }


def plan(layout: Layout, chapter: str, given: Mapping[str, Any]) -> Plan:
    """Compare the current inputs of a chapter with those that its output was made from.

    Raises
    ------
    CdmlLabError : the chapter cannot be read, or does not have one of the given parameters
    """
    notebook = read_chapter(layout.source(chapter))
    parameters = declared(chapter, notebook)
    values = resolve(chapter, parameters, given)
    # Compare with the fingerprint stored in the output of the last run.
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
    extra: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Run one chapter and write its notebook, with outputs, to `output`.

    Parameters
    ----------
    extra : called after the run; its result is added to the output's metadata

    Raises
    ------
    ChapterError : the chapter failed; `output` is unchanged
    """
    from cdmllab.book.build.execute import execute  # papermill takes seconds to import

    # Only given parameters are injected; the record has all of them.
    progress.chapter_starts(f"{step.chapter}: {summary(reasons)}")
    execute(
        layout,
        step.chapter,
        step.notebook,
        output,
        given=step.given,
        record=lambda: {
            "fingerprint": step.fingerprint,
            "parameters": dict(step.parameters),
            **extra(),
        },
        timeout_s=timeout_s,
        progress=progress,
    )
    progress.chapter_ends(f"{step.chapter}: {len(step.notebook.cells)} cells")


def clear_leftovers(layout: Layout) -> None:
    """Remove the outputs of deleted chapters and the leftovers of killed builds."""
    chapters = set(layout.chapters())
    for path in layout.executed.glob("*.ipynb"):
        if path.stem not in chapters:
            path.unlink()
    for folder in layout.executed.glob(f"{RUNNING}*"):
        # The kernel of a killed build may still be writing for a moment.
        shutil.rmtree(folder, ignore_errors=True)


def summary(reasons: Sequence[str]) -> str:
    """The reasons in one line."""
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return "; ".join(reasons[:3]) + more


def _recorded(output: Path) -> Fingerprint | None:
    """The fingerprint in an output's metadata; None without a readable output."""
    try:
        recorded = read_notebook(output).metadata["cdmllab"]["fingerprint"]
    except (CdmlLabError, KeyError, TypeError):
        return None
    return recorded if isinstance(recorded, dict) else None
