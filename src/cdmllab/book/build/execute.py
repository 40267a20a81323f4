"""Run one chapter: all cells in order, without errors or warnings, or not at all."""

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
# Attempts to start a kernel: another program may take one of its ports before the kernel binds it.
STARTS = 3
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # of tracebacks


class ChapterError(CdmlLabError):
    """A chapter failed to run."""


class _StoppedError(Exception):
    """The place and reason of a failure, without the chapter's name."""


@dataclass
class _Watch:
    """The cell that is running, for progress lines and for errors that do not name it."""

    progress: Progress
    cells: int
    injected: int | None  # index of the cell of parameters that papermill inserts
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
        """The number of the cell in the author's notebook, without the injected cell."""
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

    `output` is replaced in one step, only after a successful run. After a failure it is unchanged,
    and the partial notebook is at `layout.failed(chapter)` for inspection.

    Parameters
    ----------
    given : the parameters that differ from the notebook's defaults
    record : called after the run; its result is stored as ``cdmllab`` in the output's metadata
    timeout_s : limit for each cell in seconds; 0 means no limit

    Raises
    ------
    ChapterError : a cell raised, wrote to stderr (unless tagged ``allow-stderr``), was not run, or
        took too long; or the kernel died
    """
    # Papermill inserts the given values in a cell after the one tagged "parameters".
    tagged = [
        index
        for index, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", [])
    ]
    watch = _Watch(progress, len(notebook.cells), tagged[0] + 1 if given and tagged else None)
    failed = layout.failed(chapter)
    output.parent.mkdir(parents=True, exist_ok=True)
    # Run in a folder next to the output, on the same disk, so that it can be renamed into place.
    with TemporaryDirectory(dir=output.parent, prefix=RUNNING) as folder:
        running = Path(folder) / f"{chapter}.ipynb"
        try:
            executed = _run(layout, notebook, running, given, timeout_s, watch)
            _reject_defects(executed, watch)
        except _StoppedError as stopped:
            progress.clear()
            kept = ""
            if running.is_file():
                write_text(failed, running.read_text(encoding="utf-8"))
                kept = f"; the partial notebook is {layout.show(failed)}"
            raise ChapterError(f"chapter {chapter}, {stopped}{kept}") from stopped
    result = normalise(executed)
    # Only a successful run gets its record, and is written.
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
    """Run all cells; papermill saves the outputs so far to the file `running`."""
    # Only a kernel that does not start is worth another attempt.
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
            place = watch.where(error.cell_index, error.source)
            message = shorten(_COLOUR.sub("", error.evalue), 200)
            raise _StoppedError(f"{place}: {error.ename}: {message}") from error
        except CellTimeoutError as error:
            place = watch.where(watch.index, watch.source)
            raise _StoppedError(f"{place}: took longer than {timeout_s} s") from error
        except DeadKernelError as error:
            place = watch.where(watch.index, watch.source)
            raise _StoppedError(
                f"{place}: the kernel died: it ran out of memory or was killed"
            ) from error
        except RuntimeError as error:  # raised by jupyter_client if the kernel does not start
            if not left:
                raise _StoppedError(
                    f"the kernel did not start: {shorten(str(error), 200)}"
                ) from error


def _reject_defects(executed: NotebookNode, watch: _Watch) -> None:
    """Reject defects that papermill accepts: cells not run after an exit, and warnings."""
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
                text = shorten(output.text, 200)
                raise _StoppedError(
                    f"{place}: wrote to stderr: {text} (if intended, tag it {ALLOW_STDERR!r})"
                )
        # `exit()` ends a chapter early without an error.
        if cell.execution_count is None and SKIP not in tags:
            raise _StoppedError(f"{place}: was not run")
