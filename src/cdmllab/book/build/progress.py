"""How far a build is: one line a chapter and one a cell."""

import sys
from time import monotonic
from typing import TextIO


class Progress:
    """Tell about chapters and cells; on a terminal the line of a cell is rewritten in place.

    Parameters
    ----------
    chapter : the chapter whose cells are told, where several are run at a time; a terminal then has
        no lines of cells
    """

    def __init__(self, stream: TextIO | None = None, chapter: str = "") -> None:
        self._stream = stream or sys.stdout
        terminal = self._stream.isatty()
        self._in_place = terminal and not chapter
        self._tells_cells = self._in_place or not terminal
        self._prefix = f"{chapter} " if chapter else ""
        self._started = self._cell_started = monotonic()

    def line(self, text: str) -> None:
        """Say one thing."""
        self._write(f"{text}\n")

    def chapter_starts(self, text: str) -> None:
        """A chapter is about to run."""
        self._started = monotonic()
        self.line(text)

    def chapter_ends(self, text: str) -> None:
        """A chapter has run."""
        self.line(f"{text} in {_seconds(monotonic() - self._started)}")

    def cell_starts(self, number: int, of: int, title: str) -> None:
        """A cell begins."""
        self._cell_started = monotonic()
        if self._in_place:
            self._write(f"  cell {number}/{of}  {title}", end="")

    def cell_ends(self, number: int, of: int, title: str) -> None:
        """A cell is done."""
        if self._tells_cells:
            text = (
                f"  {self._prefix}cell {number}/{of}  "
                f"{_seconds(monotonic() - self._cell_started)}  {title}"
            )
            self._write(text, end="" if self._in_place else "\n")

    def clear(self) -> None:
        """End a line that was being rewritten, before something else is said."""
        if self._in_place:
            self._write("")

    def _write(self, text: str, end: str = "") -> None:
        self._stream.write(
            ("\r\x1b[2K" if self._in_place else "") + text + end
        )  # in one piece: others write too
        self._stream.flush()


def shorten(text: str, width: int = 60) -> str:
    """The first line that says something, cut to fit."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"
