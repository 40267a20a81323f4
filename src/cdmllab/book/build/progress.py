"""The progress of a build, with one line per chapter and one per cell."""

import sys
from time import monotonic
from typing import TextIO


class Progress:
    """Prints the progress of chapters and cells; a terminal's cell line is updated in place.

    Parameters
    ----------
    stream : where to print; None means stdout
    chapter : name of the chapter, if several run at a time; a terminal then shows no cells
    """

    def __init__(self, stream: TextIO | None = None, chapter: str = "") -> None:
        self._stream = stream or sys.stdout
        terminal = self._stream.isatty()
        self._in_place = terminal and not chapter
        self._shows_cells = self._in_place or not terminal  # a log has a line per cell
        self._prefix = f"{chapter} " if chapter else ""
        self._started = self._cell_started = monotonic()

    def line(self, text: str) -> None:
        """Print one line."""
        self._write(f"{text}\n")

    def chapter_starts(self, text: str) -> None:
        """Report that a chapter starts."""
        self._started = monotonic()
        self.line(text)

    def chapter_ends(self, text: str) -> None:
        """Report that a chapter has finished, and its time."""
        self.line(f"{text} in {_seconds(monotonic() - self._started)}")

    def cell_starts(self, number: int, total: int, title: str) -> None:
        """Report that a cell starts."""
        self._cell_started = monotonic()
        if self._in_place:
            self._write(f"  cell {number}/{total}  {title}", end="")

    def cell_ends(self, number: int, total: int, title: str) -> None:
        """Report that a cell has finished, and its time."""
        if self._shows_cells:
            text = (
                f"  {self._prefix}cell {number}/{total}  "
                f"{_seconds(monotonic() - self._cell_started)}  {title}"
            )
            self._write(text, end="" if self._in_place else "\n")

    def clear(self) -> None:
        """Clear a line that is updated in place, before something else is printed."""
        if self._in_place:
            self._write("")

    def _write(self, text: str, end: str = "") -> None:
        # In a single write, because other processes print to the same stream.
        self._stream.write(("\r\x1b[2K" if self._in_place else "") + text + end)  # erase the line
        self._stream.flush()


def shorten(text: str, width: int = 60) -> str:
    """The first non-empty line, truncated to `width` characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
