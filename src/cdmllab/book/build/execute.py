"""Running one chapter: every cell, in order, without an error and without a warning, or not
at all.
"""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from cdmllab._util.files import write_text
from cdmllab.book.build.kernel import environment, manager_class
from cdmllab.book.build.layout import RUNNING, Layout
from cdmllab.book.build.normalise import normalise
from cdmllab.book.build.notebooks import as_text
from cdmllab.book.build.progress import Progress, shorten
from cdmllab.errors import CdmlLabError

ALLOW_STDERR = "allow-stderr"
SKIP = "skip-execution"
STARTS = 3  # of a kernel: another program may take a port between its being chosen and being bound
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class ChapterError(CdmlLabError):
    """A chapter did not run to its end as it should."""


class _StoppedError(Exception):
    """Where and why a run stopped, without the chapter's name."""


@dataclass
class _Watch:
    """Which cell is at work, for the progress lines and for errors that do not tell."""

    progress: Progress
    cells: int
    injected: int | None  # where papermill puts the cell of given parameters
    index: int = 0
    source: str = ""

    def starts(self, cell: NotebookNode, cell_index: int) -> None:
        self.index, self.source = cell_index, cell.source
        if cell_index != self.injected:
            self.progress.cell_starts(self._number(cell_index), self.cells, shorten(cell.source))

    def ends(self, cell: NotebookNode, cell_index: int, **_: Any) -> None:
        if cell_index != self.injected:
            self.progress.cell_ends(self._number(cell_index), self.cells, shorten(cell.source))

    def where(self, index: int, source: str) -> str:
        return f"cell {self._number(index)} of {self.cells} (`{shorten(source)}`)"

    def _number(self, index: int) -> int:
        """The cell's place in the notebook as its author knows it."""
        return index + 1 - (self.injected is not None and index >= self.injected)


def execute(
    layout: Layout,
    chapter: str,
    notebook: NotebookNode,
    output: Path,
    *,
    given: Mapping[str, Any],
    record: Callable[[], Mapping[str, Any]],
    timeout_s: int,
    progress: Progress,
) -> None:
    """Run a chapter's notebook in the repository root and write it, with outputs, to `output`.

    `output` appears in one step, when everything went well. Otherwise it stays as it was, and what
    was run is kept for reading at `layout.failed(chapter)`.

    Parameters
    ----------
    given : the parameters that differ from the notebook's own
    record : called when all has run; kept as ``cdmllab`` in the output's metadata
    timeout_s : limit for each cell; 0 is none

    Raises
    ------
    ChapterError : a cell raised, wrote to stderr (unless tagged ``allow-stderr``), was not run, or
        took too long; or the kernel died
    """
    tagged = [
        index
        for index, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    ]
    watch = _Watch(progress, len(notebook.cells), tagged[0] + 1 if given and tagged else None)
    failed = layout.failed(chapter)
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=output.parent, prefix=RUNNING) as folder:
        running = Path(folder) / f"{chapter}.ipynb"
        try:
            executed = _run(layout, notebook, running, given, timeout_s, watch)
            _refuse_defects(executed, watch)
        except _StoppedError as stopped:
            progress.clear()
            kept = ""
            if running.is_file():
                write_text(failed, running.read_text(encoding="utf-8"))
                kept = f"; what was run is in {layout.show(failed)}"
            raise ChapterError(f"chapter {chapter}, {stopped}{kept}") from stopped
    result = normalise(executed)
    result.metadata["cdmllab"] = dict(record())
    nbformat.validate(result)
    write_text(output, as_text(result))
    failed.unlink(missing_ok=True)


def _run(
    layout: Layout,
    notebook: NotebookNode,
    running: Path,
    given: Mapping[str, Any],
    timeout_s: int,
    watch: _Watch,
) -> NotebookNode:
    """Run all cells; papermill saves what it has to the file `running` as it goes."""
    left = STARTS
    while True:
        left -= 1
        try:
            with environment(layout.package.parent) as variables:
                executed: NotebookNode = papermill.execute_notebook(
                    deepcopy(notebook),
                    str(running).replace("{", "{{").replace("}", "}}"),  # papermill formats paths
                    parameters=dict(given),
                    cwd=layout.root,
                    kernel_name="python3",
                    kernel_manager_class=manager_class(variables),
                    start_timeout=120,
                    execution_timeout=timeout_s or None,
                    iopub_timeout=60,
                    progress_bar=False,
                    on_cell_execute=watch.starts,
                    on_cell_executed=watch.ends,
                )
                return executed
        except PapermillExecutionError as error:
            place, told = watch.where(error.cell_index, error.source), _COLOUR.sub("", error.evalue)
            raise _StoppedError(f"{place}: {error.ename}: {shorten(told, 200)}") from error
        except CellTimeoutError as error:
            place = watch.where(watch.index, watch.source)
            raise _StoppedError(f"{place}: took longer than {timeout_s} s") from error
        except DeadKernelError as error:
            place = watch.where(watch.index, watch.source)
            raise _StoppedError(
                f"{place}: the kernel died, out of memory or killed from outside"
            ) from error
        except RuntimeError as error:
            if not left:
                raise _StoppedError(
                    f"the kernel did not start: {shorten(str(error), 200)}"
                ) from error


def _refuse_defects(executed: NotebookNode, watch: _Watch) -> None:
    """Find what papermill lets pass: cells that were not run after an exit, and warnings."""
    for index, cell in enumerate(executed.cells):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        tags, place = cell.metadata.get("tags", []), watch.where(index, cell.source)
        for output in cell.outputs:
            if output.output_type == "error":
                raise _StoppedError(f"{place}: {output.ename}: {shorten(output.evalue, 200)}")
            if (
                output.output_type == "stream"
                and output.name == "stderr"
                and ALLOW_STDERR not in tags
            ):
                said = shorten(output.text, 200)
                raise _StoppedError(
                    f"{place}: wrote to stderr: {said} (if meant, tag it {ALLOW_STDERR!r})"
                )
        if cell.execution_count is None and SKIP not in tags:
            raise _StoppedError(f"{place}: was not run")
