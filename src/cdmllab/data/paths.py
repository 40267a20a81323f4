"""Where data sets are: the folders of $CDMLLAB_DATA, then ``data`` here, then ``data`` in the
repository.
"""

import os
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "CDMLLAB_DATA"


def roots() -> tuple[Path, ...]:
    """The data folders that exist, in the order in which they are searched.

    $CDMLLAB_DATA may name several, parted as in $PATH.
    """
    named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    found: list[Path] = []
    for folder in [*named, *_own()]:
        if folder.is_dir() and folder.resolve() not in [seen.resolve() for seen in found]:
            found.append(folder)
    return tuple(found)


def find(*names: str) -> Path | None:
    """The first existing file or folder of these names (``lfw/pairs.txt``), looked for in every
    data folder.
    """
    return next(
        (folder / name for folder, name in _places(names) if (folder / name).exists()), None
    )


def to_write() -> Path:
    """The folder that prepared data goes to: the first of $CDMLLAB_DATA that can be written, else
    ``data`` here.
    """
    named = (Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part)
    return next((folder for folder in named if os.access(folder, os.W_OK)), Path("data"))


def searched() -> str:
    """The data folders as words, for a message that something is missing."""
    return (
        ", ".join(str(folder) for folder in roots())
        or f"no data folder exists: set ${VARIABLE} or create data/"
    )


def _own() -> tuple[Path, ...]:
    checkout = Path(__file__).resolve().parents[3]
    inside = (checkout / "data",) if (checkout / "pyproject.toml").is_file() else ()
    return (Path("data"), *inside)


def _places(names: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    for folder in roots():
        for name in names:
            yield folder, name
