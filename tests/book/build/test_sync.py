"""Chapters and notebooks stay in sync."""

import os
import tomllib

import nbformat
import pytest
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from jupytext import build_sync_jupytext_contents_manager_class
from tests.book.build.tiny_book import FIRST, REPOSITORY, Book
from tornado.web import HTTPError

from cdmllab.book.build.notebooks import (
    CELL_METADATA,
    NOTEBOOK_METADATA,
    as_text,
    cell_ids,
    read_chapter,
    read_notebook,
)
from cdmllab.book.build.sync import check, sync
from cdmllab.errors import CdmlLabError


def kinds(book: Book) -> dict[str, str]:
    return {problem.notebook: problem.kind for problem in check(book).problems}


def edit_cell(book: Book, chapter: str, index: int, source: str) -> None:
    """Edit a cell as an editor without knowledge of chapters would: the cell keeps its id."""
    notebook = read_notebook(book.notebook(chapter))
    notebook.cells[index].source = source
    book.notebook(chapter).write_text(nbformat.writes(notebook), encoding="utf-8")


def test_sync_writes_missing_notebooks_and_counts_them(book: Book) -> None:
    assert kinds(book) == {"01_first": "missing", "02_second": "missing"}
    assert sync(book).written == ["01_first", "02_second"]
    seen = check(book)
    assert (seen.chapters, seen.notebooks, seen.problems) == (2, 2, [])


def test_sync_writes_only_what_changed(book: Book) -> None:
    sync(book)
    before = {name: book.notebook(name).stat().st_mtime_ns for name in book.chapters()}
    book.edit("book/chapters/02_second.py", "# Second", "# Twice")
    assert kinds(book) == {"02_second": "stale"}
    changes = sync(book)
    assert (changes.written, changes.unchanged) == (["02_second"], ["01_first"])
    assert book.notebook("01_first").stat().st_mtime_ns == before["01_first"]


def test_sync_removes_a_notebook_without_chapter(book: Book) -> None:
    sync(book)
    book.source("02_second").unlink()
    assert kinds(book) == {"02_second": "orphan"}
    assert sync(book).removed == ["02_second"]
    assert not book.notebook("02_second").exists()


def test_sync_clears_outputs(book: Book) -> None:
    sync(book)
    clean = book.notebook("01_first").read_bytes()
    notebook = read_notebook(book.notebook("01_first"))
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="hello")]
    book.notebook("01_first").write_text(nbformat.writes(notebook), encoding="utf-8")
    assert kinds(book) == {"01_first": "outputs"}
    sync(book)
    assert book.notebook("01_first").read_bytes() == clean


def test_sync_keeps_edits_that_only_the_notebook_has(book: Book) -> None:
    sync(book)
    edit_cell(book, "01_first", 2, "mine = 1")
    assert kinds(book) == {"01_first": "edited"}
    with pytest.raises(
        CdmlLabError, match=r"notebooks/01_first\.ipynb has edits .* \(first in cell 3\)"
    ):
        sync(book)
    assert read_notebook(book.notebook("01_first")).cells[2].source == "mine = 1"


def test_sync_takes_edits_into_the_chapter(book: Book) -> None:
    sync(book)
    edit_cell(book, "01_first", 2, "mine = 1")
    assert sync(book, take_edits=True).taken == ["01_first"]
    text = book.source("01_first").read_text(encoding="utf-8")
    assert "mine = 1" in text
    assert '# %% tags=["parameters"]' in text
    assert "results/*.json" in text
    assert check(book).problems == []


def test_sync_does_not_choose_between_two_edits(book: Book) -> None:
    sync(book)
    edit_cell(book, "01_first", 2, "mine = 1")
    book.edit("book/chapters/01_first.py", "VALUE + seed", "VALUE + 1")
    before = book.source("01_first").read_bytes()
    with pytest.raises(
        CdmlLabError, match=r"01_first\.ipynb was edited, and so was book/chapters/01_first\.py"
    ):
        sync(book, take_edits=True)
    assert book.source("01_first").read_bytes() == before
    assert read_notebook(book.notebook("01_first")).cells[2].source == "mine = 1"


def test_notebook_has_no_outputs_and_valid_ids(book: Book) -> None:
    notebook = read_chapter(book.source("01_first"))
    nbformat.validate(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells) == 4
    assert all(cell.outputs == [] for cell in notebook.cells if cell.cell_type == "code")
    assert notebook.metadata["cdmllab"] == {"data": ["results/*.json"]}
    assert "jupytext" not in notebook.metadata


def test_notebook_bytes_are_the_same_each_time(book: Book) -> None:
    path = book.source("01_first")
    assert as_text(read_chapter(path)) == as_text(read_chapter(path))


def test_cell_ids_stay_when_a_cell_is_inserted(book: Book) -> None:
    before = cell_ids(read_chapter(book.source("01_first")))
    book.edit("book/chapters/01_first.py", "# %%\nwith", "# %%\nnew = 1\n\n# %%\nwith")
    after = cell_ids(read_chapter(book.source("01_first")))
    assert [cell_id for cell_id in after if cell_id in before] == before
    assert len(after) == len(before) + 1


def test_cell_ids_of_equal_cells_differ(book: Book) -> None:
    book.source("02_second").write_text("# %%\nx = 1\n\n# %%\nx = 1\n", encoding="utf-8")
    first, second = cell_ids(read_chapter(book.source("02_second")))
    assert second == f"{first}-2"


def test_chapter_with_unknown_cell_metadata_is_rejected(book: Book) -> None:
    book.edit(
        "book/chapters/02_second.py",
        '# %% tags=["parameters"]',
        '# %% tags=["parameters"] colour="red"',
    )
    with pytest.raises(
        CdmlLabError, match=r"02_second\.py, cell 2: unknown cell metadata 'colour'"
    ):
        sync(book)


def test_jupytext_keeps_the_metadata_that_chapters_have() -> None:
    settings = tomllib.loads((REPOSITORY / "jupytext.toml").read_text(encoding="utf-8"))
    assert settings["cell_metadata_filter"] == ",".join((*CELL_METADATA, "-all"))
    assert settings["notebook_metadata_filter"] == ",".join((*NOTEBOOK_METADATA, "-all"))


@pytest.fixture
def lab(book: Book) -> LargeFileManager:
    """JupyterLab's contents manager, which opens and saves files."""
    sync(book)
    return build_sync_jupytext_contents_manager_class(LargeFileManager)(root_dir=str(book.root))


def test_saving_a_notebook_in_jupyterlab_updates_its_chapter(
    book: Book, lab: LargeFileManager
) -> None:
    content = lab.get("notebooks/01_first.ipynb")["content"]
    content["cells"][2]["source"] += "\nadded = 1"
    content["cells"][2]["metadata"].update(editable=True, slideshow={"slide_type": "skip"})
    content["metadata"].update(toc={"base": 1}, language_info={"name": "python", "version": "3.99"})
    lab.save({"type": "notebook", "content": content}, "notebooks/01_first.ipynb")

    text = book.source("01_first").read_text(encoding="utf-8")
    expected = FIRST.replace("import VALUE\n", "import VALUE\nadded = 1\n")
    header = 'data: ["results/*.json"]', "data:\n#     - results/*.json"
    assert text == expected.replace(*header)  # the edit and nothing else, YAML's own spelling aside
    sync(book)
    assert check(book).problems == []
    assert read_notebook(book.notebook("01_first")).cells[2].source.endswith("added = 1")


def test_saving_a_chapter_in_jupyterlab_updates_its_notebook(
    book: Book, lab: LargeFileManager
) -> None:
    content = lab.get("book/chapters/02_second.py")["content"]
    content["cells"][0]["source"] = "# Twice"
    lab.save({"type": "notebook", "content": content}, "book/chapters/02_second.py")

    assert read_notebook(book.notebook("02_second")).cells[0].source == "# Twice"
    assert "# # Twice" in book.source("02_second").read_text(encoding="utf-8")
    sync(book)
    assert check(book).problems == []


def test_jupyterlab_opens_a_notebook_after_its_chapter_was_edited(
    book: Book, lab: LargeFileManager
) -> None:
    book.edit("book/chapters/02_second.py", "# Second", "# Twice")
    sync(book)
    assert lab.get("notebooks/02_second.ipynb")["content"]["cells"][0]["source"] == "# Twice"


FULL_OF_QUIRKS = """\
# ---
# jupyter:
#   cdmllab:
#     data: ["results/*.json"]
# ---
# %% [markdown]
# # First

# %% tags=["parameters"]
profile = "cpu"  # where to compute
seed = 0  # where every random number starts
rate = 1.0  # how fast

# %% tags=["remove-input"] mystnb={"figure": {"name": "a"}}
seed
"""


@pytest.fixture
def quirky(book: Book) -> LargeFileManager:
    """JupyterLab's contents manager, with a chapter in another style than jupytext's."""
    manager = build_sync_jupytext_contents_manager_class(LargeFileManager)()
    manager.root_dir = str(book.root)
    book.source("01_first").write_text(FULL_OF_QUIRKS, encoding="utf-8")
    return manager


def age(book: Book, seconds: float) -> None:
    """Make the chapter older than it is, as one that was edited some time ago."""
    time = book.source("01_first").stat().st_mtime - seconds
    os.utime(book.source("01_first"), (time, time))


@pytest.mark.parametrize("path", ["book/chapters/01_first.py", "notebooks/01_first.ipynb"])
def test_after_a_sync_jupyterlab_opens_chapter_and_notebook(
    book: Book, quirky: LargeFileManager, path: str
) -> None:
    age(book, 3600)
    assert "01_first" in sync(book).written
    assert quirky.get(path)["type"] == "notebook"


def test_sync_fixes_the_time_of_a_notebook_that_is_in_step_and_newer(
    book: Book, quirky: LargeFileManager
) -> None:
    """The state after git has checked out a newer notebook with the same contents."""
    sync(book)
    age(book, 3600)
    with pytest.raises(HTTPError, match="is more recent than book/chapters/01_first"):
        quirky.get("book/chapters/01_first.py")
    assert "01_first" in sync(book).unchanged
    assert quirky.get("book/chapters/01_first.py")["type"] == "notebook"


def test_fresh_checkout_opens_without_a_sync(book: Book, quirky: LargeFileManager) -> None:
    sync(book)
    age(book, 20)
    assert quirky.get("book/chapters/01_first.py")["type"] == "notebook"


def test_notebook_saved_in_jupyterlab_opens_again(book: Book, quirky: LargeFileManager) -> None:
    age(book, 3600)
    sync(book)
    model = quirky.get("book/chapters/01_first.py")
    quirky.save(
        {key: model[key] for key in ("type", "content", "format")}, "book/chapters/01_first.py"
    )
    sync(book)
    assert quirky.get("notebooks/01_first.ipynb")["type"] == "notebook"
    assert quirky.get("book/chapters/01_first.py")["type"] == "notebook"
