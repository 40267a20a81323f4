"""Measured results: small files that runs have written into ``results/`` and that the book's tables
read.
"""

import os
from pathlib import Path
from typing import Any, Literal

from cdmllab.errors import CdmlLabError
from cdmllab._util.files import read_record


def folder() -> Path:
    """Where results are kept: $CDMLLAB_RESULTS, or ``results`` in the package's repository.

    Raises
    ------
    CdmlLabError : there is no such folder
    """
    given = os.environ.get("CDMLLAB_RESULTS")
    found = Path(given) if given else Path(__file__).resolve().parents[3] / "results"
    if not found.is_dir():
        raise CdmlLabError(f"there is no folder of results at {found}; they are part of the "
                           f"repository")
    return found


def load(name: str, within: Path | None = None) -> dict[str, Any]:
    """One record, by its path in the folder without ``.json``: ``load("lab/protocols")``; `within`
    is another folder.

    Raises
    ------
    CdmlLabError : there is no such record, or it is not readable JSON
    """
    path = (within or folder()) / f"{name}.json"
    try:
        return read_record(path)
    except FileNotFoundError:
        raise CdmlLabError(f"there is no result {name!r} ({path} is missing)") from None


def benchmark(name: str, device: Literal["cpu", "cuda"] = "cpu") -> dict[str, Any] | None:
    """What ``cdmllab bench NAME`` found; None where that was not measured."""
    try:
        return load(f"benchmarks/{name}-{device}")
    except CdmlLabError:
        return None
