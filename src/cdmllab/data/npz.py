"""NumPy's ``.npz`` files, as others may have made or damaged them."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

FAULTS = (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What a damaged file raises, when it is opened or when one of its arrays is read."""


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The arrays of a file by name, read when they are asked for; NumPy alone leaves a damaged file open."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        yield arrays
