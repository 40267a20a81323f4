"""Chapters run in any locale, and with a home that cannot be written."""

import os
import subprocess
import sys

import pytest
from tests.book.build.tiny_book import Book

from cdmllab.book.build.notebooks import read_notebook

DRAWN = """\
# %% [markdown]
# # First

# %% tags=["parameters"]
profile = "cpu"  # where to compute
seed = 0  # where every random number starts

# %%
print("cos θ → 漢")  # this line is printed as the cell's title
from pathlib import Path

_ = Path("written.txt").write_text("θ")

# %%
import matplotlib.pyplot as plt

_ = plt.plot([1, 2])
"""
C_LOCALE = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def run(book: Book, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    book.source("01_first").write_text(DRAWN, encoding="utf-8")
    inherited = {
        key: value
        for key, value in os.environ.items()
        if key not in ("MPLCONFIGDIR", "XDG_CACHE_HOME")
    }
    return subprocess.run(
        [sys.executable, "-m", "cdmllab", "book", "run", "01_first", "--output", "out.ipynb"],
        cwd=book.root,
        env={**inherited, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "latin-1"}, C_LOCALE], ids=["latin-1", "C locale"]
)
def test_chapter_runs_where_its_characters_cannot_be_printed(
    book: Book, environment: dict[str, str]
) -> None:
    done = run(book, **environment)
    assert done.returncode == 0, done.stderr
    assert b"\\u2192" in done.stdout  # the arrow in the cell's title
    (output,) = read_notebook(book.root / "out.ipynb").cells[2].outputs
    assert output.text == "cos θ → 漢\n"
    assert (book.root / "written.txt").read_bytes() == "θ".encode()


def test_chapter_runs_with_a_home_that_cannot_be_written(book: Book) -> None:
    """`/dev/null` is not a folder, so no user can create files in it."""
    done = run(book, HOME="/dev/null")
    assert done.returncode == 0, done.stderr
    assert any("image/svg+xml" in output.data or "image/png" in output.data
               for output in read_notebook(book.root / "out.ipynb").cells[3].outputs)  # fmt: skip
