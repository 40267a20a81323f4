"""Running one chapter in a kernel."""

import io
import sys
from pathlib import Path

import papermill
import pytest
from tests.book.build.tiny_book import Book
from tests.waiting import LIMIT_S

from cdmllab.book.build import chapters
from cdmllab.book.build.execute import ChapterError
from cdmllab.book.build.notebooks import read_notebook
from cdmllab.book.build.progress import Progress

CELL = "VALUE + seed"


@pytest.fixture
def run(book: Book, progress: Progress):
    """Run the first chapter and return its outputs by cell."""

    def run(*, timeout_s: int = LIMIT_S, **given: object) -> list[list[dict]]:
        step = chapters.plan(book, "01_first", given)
        chapters.run(
            step, book, book.output("01_first"), ["test"], timeout_s=timeout_s, progress=progress
        )
        return [cell.get("outputs", []) for cell in read_notebook(book.output("01_first")).cells]

    return run


def left_over(book: Book) -> set[str]:
    """The files in the folder of outputs."""
    return {path.name for path in book.executed.iterdir()}


def test_execute_twice_gives_the_same_bytes(book: Book, run) -> None:
    drawing = (
        "import matplotlib.pyplot as plt\n"
        "%config InlineBackend.figure_formats = ['svg', 'png']\n"
        "plt.plot([0, 1])\n"
        "print(object(), set('abcdef'))\n"
    )
    book.edit("book/chapters/01_first.py", CELL, drawing)
    outputs = run()[3]
    assert {"image/svg+xml", "image/png"} <= {
        kind for output in outputs for kind in output.get("data", {})
    }
    first = book.output("01_first").read_bytes()
    run()
    assert book.output("01_first").read_bytes() == first
    assert left_over(book) == {"01_first.ipynb"}


def test_execute_uses_this_interpreter_in_the_root_with_this_tree(book: Book, run) -> None:
    book.edit(
        "book/chapters/01_first.py",
        CELL,
        "import os, sys, cdmllab, matplotlib\n"
        "backend, hash_seed = matplotlib.get_backend(), os.environ['PYTHONHASHSEED']\n"
        "(sys.executable, os.getcwd(), cdmllab.__file__, backend, hash_seed)",
    )
    value = eval(run()[3][0]["data"]["text/plain"])
    backend = "module://matplotlib_inline.backend_inline"
    assert value == (
        sys.executable,
        str(book.root),
        str(book.package / "__init__.py"),
        backend,
        "0",
    )


def test_execute_injects_parameters_that_differ_from_the_defaults(book: Book, run) -> None:
    run(seed=2, profile="cpu")
    notebook = read_notebook(book.output("01_first"))
    assert notebook.cells[2].id == "injected-parameters"
    assert notebook.cells[2].source == "# Parameters\nseed = 2\n"
    assert notebook.cells[4].outputs[0].data["text/plain"] == "5"
    assert notebook.metadata["cdmllab"]["parameters"] == {"profile": "cpu", "seed": 2, "rate": 1.0}


def test_executed_metadata_has_no_trace_of_the_run(built_once: Book) -> None:
    notebook = read_notebook(built_once.output("01_first"))
    assert set(notebook.metadata) == {"cdmllab", "kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags", "mystnb"} for cell in notebook.cells)


def test_execute_keeps_a_widget_only_in_its_static_forms(book: Book, run) -> None:
    book.edit("book/chapters/01_first.py", CELL, "import ipywidgets\nipywidgets.IntSlider(3)")
    (output,) = run()[3]
    assert set(output["data"]) == {"text/plain"}
    assert "widgets" not in read_notebook(book.output("01_first")).metadata


def test_execute_reports_each_cell(book: Book, run, printed: io.StringIO) -> None:
    run(seed=2)
    lines = printed.getvalue().splitlines()
    assert lines[0] == "01_first: test"
    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["cell", f"{number}/4"] for number in (2, 3, 4)
    ]
    assert lines[-1].startswith("01_first: 4 cells in ")


@pytest.mark.parametrize(
    ("source", "timeout_s", "sentence"),
    [
        (
            "\n1 / 0  # oh",
            LIMIT_S,
            r"cell 4 of 4 \(`with Path.*`\): ZeroDivisionError: division by zero",
        ),
        ("import time; time.sleep(60)", 1, r"cell 4 of 4 .*: took longer than 1 s"),
        ("import os; os.kill(os.getpid(), 9)", LIMIT_S, r"cell 4 of 4 .*: the kernel died"),
        (
            "import warnings; warnings.warn('stale')",
            LIMIT_S,
            r"cell 4 of 4 .*: wrote to stderr: .*UserWarning: stale",
        ),
        ("import sys; sys.exit(0)", LIMIT_S, r"cell 4 of 4 .*: SystemExit: 0"),
    ],
    ids=["error", "timeout", "death", "stderr", "exit"],
)
def test_execute_failure_is_one_sentence_and_keeps_the_previous_output(
    book: Book, run, source: str, timeout_s: int, sentence: str
) -> None:
    book.executed.mkdir()
    book.output("01_first").write_text("previous", encoding="utf-8")
    book.edit("book/chapters/01_first.py", CELL, source)
    with pytest.raises(ChapterError, match=rf"^chapter 01_first, {sentence}[^\n]*$") as caught:
        run(timeout_s=timeout_s, seed=5)
    assert str(caught.value).endswith("the partial notebook is book/_build/failed/01_first.ipynb")
    assert book.output("01_first").read_text(encoding="utf-8") == "previous"
    assert left_over(book) == {"01_first.ipynb"}
    assert "seed = 5" in book.failed("01_first").read_text(encoding="utf-8")


def test_execute_names_a_cell_before_the_last(book: Book, run) -> None:
    book.edit(
        "book/chapters/01_first.py",
        "from cdmllab.alpha import VALUE",
        "from cdmllab.alpha import NOTHING",
    )
    with pytest.raises(
        ChapterError,
        match=r"cell 3 of 4 \(`from pathlib import Path`\): ImportError: cannot import",
    ):
        run()


def test_execute_allows_stderr_where_it_is_meant(book: Book, run) -> None:
    book.edit("book/chapters/01_first.py", "# %%\nwith", '# %% tags=["allow-stderr"]\nwith')
    book.edit("book/chapters/01_first.py", CELL, "import sys; _ = sys.stderr.write('meant')")
    assert run()[3][0]["text"] == "meant"


def test_execute_removes_the_failed_notebook_after_success(book: Book, run) -> None:
    book.edit("book/chapters/01_first.py", CELL, "1 / 0")
    with pytest.raises(ChapterError):
        run()
    assert book.failed("01_first").is_file()
    book.edit("book/chapters/01_first.py", "1 / 0", CELL)
    run()
    assert not book.failed("01_first").exists()


@pytest.mark.parametrize("failures", [2, 3])
def test_kernel_that_does_not_start_is_started_again_twice(
    book: Book, run, monkeypatch, failures: int
) -> None:
    """Another program may take a port after it was chosen and before it is bound."""
    start, tries = papermill.execute_notebook, []

    def unlucky(*arguments, **options):
        tries.append(arguments)
        if len(tries) <= failures:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return start(*arguments, **options)

    monkeypatch.setattr(papermill, "execute_notebook", unlucky)
    if failures < 3:
        run()
        assert book.executions() == ["01_first 0 1.0"]
    else:
        with pytest.raises(
            ChapterError, match="chapter 01_first, the kernel did not start: Kernel died before"
        ):
            run()
    assert len(tries) == 3


def test_execute_works_in_a_folder_with_braces(book: Book, progress: Progress) -> None:
    step = chapters.plan(book, "01_first", {})
    output = Path(book.root / "a {b}/out.ipynb")
    chapters.run(step, book, output, ["test"], timeout_s=LIMIT_S, progress=progress)
    assert output.is_file()
