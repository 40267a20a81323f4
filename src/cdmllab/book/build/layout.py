"""The paths of the book's parts."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cdmllab.errors import CdmlLabError

RUNNING = ".running-"  # prefix of the temporary folder of a run
_NAME = re.compile(r"\d\d_[a-z0-9_]+")


@dataclass(frozen=True)
class Layout:
    """The paths of a book, all below the repository root.

    A chapter is always named by the stem of its file, such as ``01_sphere``.
    """

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Self:
        """Find the book that contains a folder, by default the current one.

        Raises
        ------
        CdmlLabError : neither `start` nor a folder above it has ``_config.yml`` and
            ``book/_toc.yml``
        """
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / "_config.yml").is_file() and (folder / "book/_toc.yml").is_file():
                return cls(folder)
        raise CdmlLabError(
            f"{start} is not inside the book's repository: neither it nor a folder above it has "
            f"_config.yml and book/_toc.yml"
        )

    @property
    def config(self) -> Path:
        """The settings of the site."""
        return self.root / "_config.yml"

    @property
    def book(self) -> Path:
        """The sources of the site, and the files generated from them."""
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
        """The log of the last site build."""
        return self.build / "build.log"

    @property
    def notebooks(self) -> Path:
        """The folder of the notebooks for readers, without outputs."""
        return self.root / "notebooks"

    @property
    def executed(self) -> Path:
        """The folder of the notebooks with outputs."""
        return self.book / "executed"

    @property
    def package(self) -> Path:
        """The folder of the package that the chapters use."""
        return self.root / "src/cdmllab"

    def chapters(self) -> list[str]:
        """The names of the chapters in order.

        Raises
        ------
        CdmlLabError : there is none, one is not named ``NN_name.py``, or two have the same number
        """
        # The number in a name gives the order, and is a chapter's short name.
        names = sorted(path.stem for path in (self.book / "chapters").glob("*.py"))
        if not names:
            raise CdmlLabError(f"there is no chapter in {self.show(self.book / 'chapters')}")
        numbers: dict[str, str] = {}
        for name in names:
            if not _NAME.fullmatch(name):
                raise CdmlLabError(
                    f"book/chapters/{name}.py must be named NN_name.py, such as 01_sphere.py"
                )
            if name[:2] in numbers:
                raise CdmlLabError(
                    f"two chapters have the number {name[:2]}: {numbers[name[:2]]} and {name}"
                )
            numbers[name[:2]] = name
        return names

    def chapter(self, reference: str) -> str:
        """Find a chapter by its name, its number (``01`` or ``1``), or the path of its file.

        Raises
        ------
        CdmlLabError : there is no such chapter
        """
        names = self.chapters()
        stem = Path(reference).stem
        for name in names:
            if stem in (name, name[:2], str(int(name[:2]))):  # 01_sphere, 01, 1
                return name
        raise CdmlLabError(f"there is no chapter {reference!r}; the book has {', '.join(names)}")

    def source(self, chapter: str) -> Path:
        """The chapter's source, which authors edit."""
        return self.book / f"chapters/{chapter}.py"

    def notebook(self, chapter: str) -> Path:
        """The chapter's notebook, without outputs."""
        return self.notebooks / f"{chapter}.ipynb"

    def output(self, chapter: str) -> Path:
        """The chapter's notebook with outputs, from which the site is built."""
        return self.executed / f"{chapter}.ipynb"

    def failed(self, chapter: str) -> Path:
        """The partial notebook of a failed run."""
        return self.build / f"failed/{chapter}.ipynb"

    def show(self, path: Path) -> str:
        """A path for messages: relative to the root, with forward slashes."""
        return (
            path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        )
