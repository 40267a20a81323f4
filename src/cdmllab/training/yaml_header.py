"""YAML files that say what they are: presets and sweeps, read and complained about in the same
words.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cdmllab._util import safe_yaml
from cdmllab._util.files import read_text, read_yaml
from cdmllab.errors import plain


def read(path: Path) -> dict[str, Any]:
    """The keys and values of a file.

    Raises
    ------
    MissingError : the file is missing
    DataError : it is not YAML, or holds something else
    """
    return read_yaml(path)


def header(path: Path) -> dict[str, str]:
    """What the comments at the top promise: ``about``, and if they are there ``command``, ``cost``
    and ``expect``.

    A line that begins with three spaces more goes on with the one above it.
    """
    told, last = {"about": ""}, "about"
    for line in read_text(path, "readable YAML", at_most=safe_yaml.LARGEST).splitlines():
        if not line.startswith("# "):
            break
        key, separator, text = line[2:].partition(": ")
        if separator and key in ("command", "cost", "expect"):
            told[key], last = text, key
        elif last == "about" or line.startswith("#   "):
            told[last] = f"{told[last]} {line[2:].strip()}".strip()
    return told


def complaint(error: ValidationError, whole: str) -> str:
    """The first thing that is wrong, with its key; `whole` stands for the key where all of it is
    wrong.
    """
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = plain(".".join(str(part) for part in first["loc"]), 100) or whole
    more = f" (and {error.error_count() - 1:,} more)" if error.error_count() > 1 else ""
    return f"{where}: {plain(first['msg'].removeprefix('Value error, '), 500)}{more}"
