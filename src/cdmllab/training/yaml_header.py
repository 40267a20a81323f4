"""Read presets and sweeps: YAML files with a header of comments."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cdmllab._util import safe_yaml
from cdmllab._util.files import read_text, read_yaml
from cdmllab._util.validation import first_error
from cdmllab.errors import plain


def read(path: Path) -> dict[str, Any]:
    """Read the keys and values of a file.

    Raises
    ------
    MissingError : the file is missing
    DataError : it is not YAML, or not a mapping
    """
    return read_yaml(path)


def header(path: Path) -> dict[str, str]:
    """Read the comments at the top: ``about``, and optionally ``command``, ``cost``, ``expect``.

    A line indented by three more spaces continues the one above it.
    """
    entries, last = {"about": ""}, "about"
    for line in read_text(path, "readable YAML", at_most=safe_yaml.LARGEST).splitlines():
        # The header ends at the first line that is not a comment with text.
        if not line.startswith("# "):
            break
        key, separator, text = line[2:].partition(": ")
        # "command: ..." begins an entry; a colon after any other word belongs to the text.
        if separator and key in ("command", "cost", "expect"):
            entries[key], last = text, key
        elif last == "about" or line.startswith("#   "):
            entries[last] = f"{entries[last]} {line[2:].strip()}".strip()
    return entries


def complaint(error: ValidationError, root: str) -> str:
    """The first error, with its key; `root` replaces an empty key."""
    key, message = first_error(error)
    more = f" (and {error.error_count() - 1:,} more)" if error.error_count() > 1 else ""
    return f"{key or root}: {plain(message, 500)}{more}"
