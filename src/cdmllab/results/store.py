"""Read ``results/``, the small files that runs write and the book's tables read."""

import os
from pathlib import Path
from typing import Any, Literal

from cdmllab._util.files import read_record
from cdmllab.errors import CdmlLabError


def folder() -> Path:
    """The folder of results: $CDMLLAB_RESULTS, or ``results`` in the package's repository.

    Raises
    ------
    CdmlLabError : there is no such folder
    """
    given = os.environ.get("CDMLLAB_RESULTS")
    path = Path(given) if given else Path(__file__).resolve().parents[3] / "results"
    if not path.is_dir():
        raise CdmlLabError(f"no folder of results at {path}; it is part of the repository")
    return path


def load(name: str, within: Path | None = None) -> dict[str, Any]:
    """Read a record by its path in the folder without ``.json``, as ``load("lab/protocols")``.

    Parameters
    ----------
    name : the path, with slashes
    within : the folder of results; default `folder`

    Raises
    ------
    CdmlLabError : there is no such record, or it is not readable JSON
    """
    path = (within or folder()) / f"{name}.json"
    try:
        return read_record(path)
    except FileNotFoundError:
        raise CdmlLabError(f"no result {name!r}: {path} does not exist") from None


def benchmark(name: str, device: Literal["cpu", "cuda"] = "cpu") -> dict[str, Any] | None:
    """The record of ``cdmllab bench NAME``; None if it was not measured on that device."""
    try:
        return load(f"benchmarks/{name}-{device}")
    except CdmlLabError:
        return None
