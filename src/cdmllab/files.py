"""Writing files so that a reader never meets half of one, and reading those that may be damaged all the same."""

import json
import os
import re
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from cdmllab.errors import DataError


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it over `path` when the block ends without an error.

    After an error the temporary file is removed and `path` is as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Replace the text file at `path` in one step (UTF-8)."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_line(path: Path | str, line: str) -> None:
    """Append one line in a single write, so that a kill leaves whole lines only."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, (line + "\n").encode())
    finally:
        os.close(descriptor)


def printable(name: str) -> str:
    r"""A file name as text for any file or screen: valid UTF-8, one line, and different for different names.

    File systems keep bytes. What is no UTF-8 becomes ``\xfc``, a line break ``\x0a``, a backslash two.
    """
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(_escaped(character) for character in name)


def read_json(path: Path | str) -> Any:
    """What a JSON file holds.

    Raises
    ------
    DataError : it is not JSON in UTF-8
    OSError : there is no such file, or it cannot be read
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not readable JSON: {error}") from None


def _escaped(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return f"\\x{code:02x}" if code < 128 else f"\\u{code:04x}"
    return character


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, to which ``1e-3`` is a number, as in YAML 1.2, and not a string."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def parse_yaml(text: str | bytes, where: str) -> Any:
    """What a text in YAML says; `where` it stands is for the complaint.

    Raises
    ------
    DataError : it is not YAML in UTF-8
    """
    try:
        return yaml.load(text.decode() if isinstance(text, bytes) else text, _Loader)
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{where} is not readable YAML: {' '.join(str(error).split())}") from None


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises
    ------
    DataError : it is not YAML in UTF-8, or holds something else
    OSError : there is no such file, or it cannot be read
    """
    values = parse_yaml(Path(path).read_bytes(), str(path))
    if not isinstance(values, dict):
        raise DataError(f"{path} must hold keys and values")
    return values
