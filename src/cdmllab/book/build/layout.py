"""Where the parts of the book lie."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cdmllab.errors import CdmlLabError

RUNNING = ".running-"  # begins the name of a folder that a run works in
_NAME = re.compile(r"\d\d_[a-z0-9_]+")


@dataclass(frozen=True)
class Layout:
    """The paths of one book, all below the repository root.

    A chapter is called by the stem of its file, ``01_sphere``, everywhere.
    """

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Self:
        """The book around a folder (default: the current one), looking upwards.

        Raises
        ------
        CdmlLabError : no folder from `start` upwards holds ``_config.yml`` and ``book/_toc.yml``
        """
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / "_config.yml").is_file() and (folder / "book/_toc.yml").is_file():
                return cls(folder)
        raise CdmlLabError(
            f"{start} is not inside the book's tree: neither it nor a folder above it has "
            f"_config.yml and book/_toc.yml"
        )

    @property
    def config(self) -> Path:
        """The settings of the site."""
        return self.root / "_config.yml"

    @property
    def book(self) -> Path:
        """Everything the site is made of, and what is generated from it."""
        return self.root / "book"

    @property
    def toc(self) -> Path:
        """The order of the pages."""
        return self.book / "_toc.yml"

    @property
    def build(self) -> Path:
        """The site, its log and the lock."""
        return self.book / "_build"

    @property
    def html(self) -> Path:
        """The finished site."""
        return self.build / "html"

    @property
    def log(self) -> Path:
        """What the last site build said."""
        return self.build / "build.log"

    @property
    def notebooks(self) -> Path:
        """The folder of the notebooks a reader runs."""
        return self.root / "notebooks"

    @property
    def executed(self) -> Path:
        """The folder of the notebooks with outputs."""
        return self.book / "executed"

    @property
    def package(self) -> Path:
        """The folder of the package the chapters call."""
        return self.root / "src/cdmllab"

    def chapters(self) -> list[str]:
        """The chapters in order.

        Raises
        ------
        CdmlLabError : there is none, one is not called ``NN_name.py``, or two have the same number
        """
        names = sorted(path.stem for path in (self.book / "chapters").glob("*.py"))
        if not names:
            raise CdmlLabError(f"there is no chapter in {self.show(self.book / 'chapters')}")
        numbers: dict[str, str] = {}
        for name in names:
            if not _NAME.fullmatch(name):
                raise CdmlLabError(
                    f"book/chapters/{name}.py is not called NN_name.py, as in 01_sphere.py"
                )
            if name[:2] in numbers:
                raise CdmlLabError(
                    f"two chapters have the number {name[:2]}: {numbers[name[:2]]} and {name}"
                )
            numbers[name[:2]] = name
        return names

    def chapter(self, wanted: str) -> str:
        """The chapter meant by its name, its number (``01`` or ``1``), or the path of its file.

        Raises
        ------
        CdmlLabError : no chapter answers to it
        """
        names = self.chapters()
        stem = Path(wanted).stem
        for name in names:
            if stem in (name, name[:2], str(int(name[:2]))):
                return name
        raise CdmlLabError(f"there is no chapter {wanted!r}; the book has {', '.join(names)}")

    def source(self, chapter: str) -> Path:
        """The chapter's text: what an author edits."""
        return self.book / f"chapters/{chapter}.py"

    def notebook(self, chapter: str) -> Path:
        """The chapter's notebook, without outputs."""
        return self.notebooks / f"{chapter}.ipynb"

    def output(self, chapter: str) -> Path:
        """The chapter's notebook with outputs, which the site shows."""
        return self.executed / f"{chapter}.ipynb"

    def failed(self, chapter: str) -> Path:
        """Where the notebook of a failed run is kept for reading."""
        return self.build / f"failed/{chapter}.ipynb"

    def show(self, path: Path) -> str:
        """A path as told to the user: from the root, with forward slashes."""
        return (
            path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        )
