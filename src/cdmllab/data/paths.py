"""The folders in which data sets are searched for.

They are those of $CDMLLAB_DATA, then ``data`` in the working directory, then ``data`` in a checkout
of the repository.
"""

import os
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "CDMLLAB_DATA"


def roots() -> tuple[Path, ...]:
    """The data folders that exist, in the order in which they are searched.

    $CDMLLAB_DATA may name several, separated as in $PATH.
    """
    named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    folders: list[Path] = []
    for folder in [*named, *_default_folders()]:
        # The working directory may be the checkout, or be named as well.
        if folder.is_dir() and folder.resolve() not in [other.resolve() for other in folders]:
            folders.append(folder)
    return tuple(folders)


def find(*names: str) -> Path | None:
    """The first file or folder that exists in a data folder under one of these names.

    Folders come first: all names, such as ``lfw/pairs.txt``, are tried in the first data folder,
    then in the next. The result is None if there is none.
    """
    return next(
        (folder / name for folder, name in _places(names) if (folder / name).exists()), None
    )


def to_write() -> Path:
    """The folder for prepared data: the first writable one of $CDMLLAB_DATA, else ``data``."""
    named = (Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part)
    return next((folder for folder in named if os.access(folder, os.W_OK)), Path("data"))


def searched() -> str:
    """The data folders, listed for the message that something is missing."""
    return (
        ", ".join(str(folder) for folder in roots())
        or f"no data folder exists: set ${VARIABLE} or create data/"
    )


def _default_folders() -> tuple[Path, ...]:
    checkout = Path(__file__).resolve().parents[3]  # above src/cdmllab/data
    # An installed package is not in a checkout.
    in_checkout = (checkout / "data",) if (checkout / "pyproject.toml").is_file() else ()
    return (Path("data"), *in_checkout)


def _places(names: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    for folder in roots():
        for name in names:
            yield folder, name
