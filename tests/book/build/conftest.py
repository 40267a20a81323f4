"""A book of two tiny chapters in a temporary folder."""

import io
import shutil
from pathlib import Path

import pytest
from tests.book.build.tiny_book import Book, write_book

from cdmllab.book.build.pipeline import build
from cdmllab.book.build.progress import Progress


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """A book of which nothing has been built."""
    return write_book(tmp_path / "tree")


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """A book with its site, to copy and to read."""
    book = write_book(tmp_path_factory.mktemp("built") / "tree")
    build(book, progress=Progress(io.StringIO()))
    assert book.executions() == ["01_first 0 1.0", "02_second 0"]
    return book


@pytest.fixture
def built(built_once: Book, tmp_path: Path) -> Book:
    """A book with its site, to change."""
    return Book(shutil.copytree(built_once.root, tmp_path / "tree"))


@pytest.fixture
def printed() -> io.StringIO:
    """The printed progress."""
    return io.StringIO()


@pytest.fixture
def progress(printed: io.StringIO) -> Progress:
    return Progress(printed)
