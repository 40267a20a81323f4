"""The warnings and errors in the log of a site build."""

import re
from pathlib import Path

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# `file:line: WARNING: text`, in which the file and the line may be missing.
_COMPLAINT = re.compile(
    r"^(?:(?P<file>[^\s:][^:\n]*):(?:(?P<line>\d+):)? )?(?:WARNING|ERROR|CRITICAL|SEVERE): "
    r"(?P<text>.+)$"
)
# Messages of jupyter-book that Sphinx does not count as warnings, or that end a build.
_OTHERS = re.compile(
    r"^(?:.*Validation errors in config|Extension error.*|(?:Configuration|Theme) error|Exception "
    r"occurred):$"
)
_CELL = 10_000  # myst-nb counts the lines of a cell from (its number x 10000)


def plain(log: str) -> str:
    """A log without colours and empty lines, with lines updated in place split up."""
    return "".join(f"{line}\n" for line in _COLOUR.sub("", log).splitlines() if line.strip())


def complaints(log: str, root: Path) -> list[str]:
    """The distinct warnings and errors of a log as ``file:line: text``, with relative paths."""
    messages: dict[str, None] = {}  # an ordered set
    lines = [line.strip() for line in log.splitlines()]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if match := _COMPLAINT.match(line):
            messages[_place(match["file"], match["line"], root) + match["text"]] = None
        elif _OTHERS.match(line):
            messages[f"{line} {following}"] = None
    return list(messages)


def _place(file: str | None, line: str | None, root: Path) -> str:
    if file is None:
        return ""
    path = Path(file)
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else file
    if line is None:
        return f"{name}: "
    if path.suffix == ".ipynb" and int(line) >= _CELL:
        return f"{name}, cell {int(line) // _CELL}: "
    return f"{name}:{line}: "
