"""Conversion of chapters to notebooks: the same chapter always gives the same bytes."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from cdmllab.errors import CdmlLabError

# The metadata that a chapter may have. jupytext.toml allows the same, so that JupyterLab adds
# nothing else.
CELL_METADATA = ("mystnb", "tags")
NOTEBOOK_METADATA = ("cdmllab",)
FORMAT = "py:percent"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}

Content = tuple[str, str, str]  # cell type, text, metadata as JSON


def read_chapter(path: Path) -> NotebookNode:
    """The notebook of a chapter: without outputs, with ids derived from the cells' content.

    Raises
    ------
    CdmlLabError : the file cannot be read, or a cell has unknown metadata
    """
    try:
        parsed = jupytext.reads(path.read_text(encoding="utf-8"), fmt=FORMAT)
    except Exception as error:
        raise CdmlLabError(
            f"{path.name} cannot be read as a chapter (py:percent): {error}"
        ) from error
    for number, cell in enumerate(parsed.cells, start=1):
        # jupytext itself adds `lines_to_next_cell`.
        unknown = sorted(set(cell.metadata) - {*CELL_METADATA, "lines_to_next_cell"})
        if unknown:
            raise CdmlLabError(
                f"{path.name}, cell {number}: unknown cell metadata {unknown[0]!r}; "
                f"allowed are {', '.join(CELL_METADATA)}"
            )
    return canonical(parsed)


def canonical(notebook: NotebookNode) -> NotebookNode:
    """A new notebook with the cells of another: no outputs, no other metadata, derived ids."""
    metadata = {
        key: notebook.metadata[key] for key in NOTEBOOK_METADATA if key in notebook.metadata
    }
    metadata.update(kernelspec=dict(KERNEL), language_info={"name": "python"})
    cells = []
    for cell, cell_id in zip(notebook.cells, cell_ids(notebook), strict=True):
        fresh = {
            "id": cell_id,
            "cell_type": cell.cell_type,
            "source": cell.source,
            "metadata": kept(cell),
        }
        if cell.cell_type == "code":
            fresh.update(execution_count=None, outputs=[])
        cells.append(fresh)
    result = _as_node({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})
    nbformat.validate(result)
    return result


def cell_ids(notebook: NotebookNode) -> list[str]:
    """An id for each cell, derived from its content, so that new cells change no others.

    Repeated cells get a counter.
    """
    seen: Counter[str] = Counter()
    ids = []
    for content in contents(notebook):
        digest = hashlib.sha256("\0".join(content).encode()).hexdigest()[:12]
        seen[digest] += 1
        ids.append(digest if seen[digest] == 1 else f"{digest}-{seen[digest]}")
    return ids


def contents(notebook: NotebookNode) -> list[Content]:
    """The type, text and metadata of each cell, as written by the author."""
    return [
        (
            cell.cell_type,
            cell.source.rstrip(),
            json.dumps(kept(cell), sort_keys=True, ensure_ascii=False),
        )
        for cell in notebook.cells
    ]


def is_generated(notebook: NotebookNode) -> bool:
    """Whether no cell was edited since the notebook was generated: all ids match their cells."""
    return [cell.get("id") for cell in notebook.cells] == cell_ids(notebook)


def as_text(notebook: NotebookNode) -> str:
    """The notebook as the text of its file."""
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"


def as_chapter(notebook: NotebookNode) -> str:
    """The chapter's source for a notebook, as JupyterLab would save it with jupytext."""
    plain = canonical(notebook)
    plain.metadata["jupytext"] = {
        # "-all": jupytext keeps what is named and nothing else.
        "notebook_metadata_filter": ",".join((*NOTEBOOK_METADATA, "-all")),
        "cell_metadata_filter": ",".join((*CELL_METADATA, "-all")),
    }
    return str(jupytext.writes(plain, fmt=FORMAT))


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook from its file.

    Raises
    ------
    CdmlLabError : the file is not a notebook
    """
    try:
        text = path.read_text(encoding="utf-8")
        notebook: NotebookNode = nbformat.reads(text, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        # The rest of a validation error is the schema.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CdmlLabError(f"{path} is not a notebook: {reason}") from error
    return notebook


def kept(cell: NotebookNode) -> dict[str, Any]:
    """The author's part of a cell's metadata."""
    return {key: cell.metadata[key] for key in CELL_METADATA if cell.metadata.get(key)}


def _as_node(content: dict[str, Any]) -> NotebookNode:
    node: NotebookNode = nbformat.from_dict(content)
    return node
