"""Remove from executed notebooks what differs from run to run."""

import copy
import re
from typing import Any

from nbformat import NotebookNode

from cdmllab.book.build.notebooks import KERNEL, kept

INJECTED = "injected-parameters"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_ADDRESS = re.compile(r"(?<= at )0x[0-9a-fA-F]+")  # <object at 0x7f...>


def normalise(executed: NotebookNode) -> NotebookNode:
    """A copy without times, widget state and memory addresses, equal for two runs of a chapter.

    A widget's output keeps its other forms (``text/html``, ``text/plain``), which the site uses.
    """
    notebook = copy.deepcopy(executed)
    notebook.metadata = {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    for cell in notebook.cells:
        if INJECTED in cell.metadata.get("tags", []):
            cell.id = INJECTED  # papermill gives it a random id
        cell.metadata = kept(cell)
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_output, cell.outputs) if output]
    return notebook


def _output(output: NotebookNode) -> NotebookNode | None:
    if output.output_type == "stream":
        output.text = _ADDRESS.sub("0x0", output.text)
    if "data" in output:
        output.data.pop(WIDGET_VIEW, None)
        output.metadata.pop(WIDGET_VIEW, None)
        for kind, value in output.data.items():
            output.data[kind] = _without_addresses(kind, value)
        if not output.data:  # it was only a widget's view
            return None
    return output


def _without_addresses(kind: str, value: Any) -> Any:
    return (
        _ADDRESS.sub("0x0", value) if kind.startswith("text/") and isinstance(value, str) else value
    )
