"""What went wrong in a site build, read from its log."""

import re
from pathlib import Path

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_COMPLAINT = re.compile(
    r"^(?:(?P<file>[^\s:][^:\n]*):(?:(?P<line>\d+):)? )?(?:WARNING|ERROR|CRITICAL|SEVERE): "
    r"(?P<text>.+)$"
)
# Said by jupyter-book without its being a warning to Sphinx, or to end a build that cannot go on.
_OTHERS = re.compile(
    r"^(?:.*Validation errors in config|Extension error.*|(?:Configuration|Theme) error|Exception "
    r"occurred):$"
)
_CELL = 10_000  # myst-nb counts the lines of a cell from (its number x 10000)


def plain(log: str) -> str:
    """A log without colours, and without the lines that were rewritten in place."""
    return "".join(f"{line}\n" for line in _COLOUR.sub("", log).splitlines() if line.strip())


def complaints(log: str, root: Path) -> list[str]:
    """Each warning and error of a log, once, as ``file:line: text`` with paths from the root."""
    found: dict[str, None] = {}
    lines = [line.strip() for line in log.splitlines()]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if match := _COMPLAINT.match(line):
            found[_place(match["file"], match["line"], root) + match["text"]] = None
        elif _OTHERS.match(line):
            found[f"{line} {following}"] = None
    return list(found)


def _place(file: str | None, line: str | None, root: Path) -> str:
    if file is None:
        return ""
    path = Path(file)
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else file
    if line is None:
        return f"{shown}: "
    if path.suffix == ".ipynb" and int(line) >= _CELL:
        return f"{shown}, cell {int(line) // _CELL}: "
    return f"{shown}:{line}: "
