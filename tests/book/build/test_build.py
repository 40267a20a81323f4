"""The build does only what is necessary."""

import io
import signal
import subprocess
import sys

import pytest
from tests.book.build.tiny_book import Book
from tests.waiting import LIMIT_S, until
from typer.testing import CliRunner

from cdmllab.book.build import pipeline as module
from cdmllab.book.build import site
from cdmllab.book.build.lock import building
from cdmllab.book.build.pipeline import build
from cdmllab.book.build.progress import Progress
from cdmllab.cli import app
from cdmllab.errors import CdmlLabError

COMMAND = [sys.executable, "-m", "cdmllab", "book", "build"]


@pytest.fixture(autouse=True)
def no_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the site in this test."""
    monkeypatch.setattr(site, "build", lambda layout: 0)


def test_build_reruns_only_what_changed_and_prints_why(
    built: Book, progress: Progress, printed: io.StringIO
) -> None:
    assert build(built, progress=progress) == []
    built.edit("src/cdmllab/beta/inner.py", "2 * x", "3 * x")
    assert build(built, progress=progress) == ["02_second"]
    built.edit("src/cdmllab/apart.py", "", "# nobody reaches this\n")
    assert build(built, progress=progress) == []
    built.edit("results/numbers.json", "1", "2")
    assert build(built, progress=progress) == ["01_first"]
    assert built.executions() == ["02_second 0", "01_first 0 1.0"]
    reasons = [
        line
        for line in printed.getvalue().splitlines()
        if line.startswith("0") and line.endswith("changed")
    ]
    assert reasons == [
        "02_second: cdmllab.beta.inner changed",
        "01_first: results/numbers.json changed",
    ]


def test_build_with_other_parameters_runs_again_then_back(built: Book, progress: Progress) -> None:
    assert build(built, given={"seed": "4"}, only=["2"], progress=progress) == ["02_second"]
    assert build(built, given={"seed": "4"}, only=["2"], progress=progress) == []
    assert build(built, progress=progress) == ["02_second"]
    assert built.executions() == ["02_second 4", "02_second 0"]


def test_build_with_an_unknown_parameter_runs_nothing(built: Book, progress: Progress) -> None:
    with pytest.raises(
        CdmlLabError, match="chapter 02_second has no parameter 'rate'; it has profile, seed"
    ):
        build(built, given={"rate": "2"}, progress=progress)
    assert built.executions() == []


def test_build_removes_the_output_of_a_deleted_chapter(built: Book, progress: Progress) -> None:
    built.source("02_second").unlink()
    build(built, progress=progress)
    assert not built.output("02_second").exists()
    assert not built.notebook("02_second").exists()


def test_build_of_one_chapter_leaves_the_site_waiting(
    book: Book, progress: Progress, printed: io.StringIO
) -> None:
    assert build(book, only=["01"], progress=progress) == ["01_first"]
    assert printed.getvalue().splitlines()[-1] == "site: not built; not yet run: 02_second"
    with pytest.raises(
        CdmlLabError, match="the site needs chapter 02_second, which has not been run"
    ):
        build(book, execute=False, progress=progress)


def test_build_needs_every_chapter_in_the_table_of_contents(
    built: Book, progress: Progress
) -> None:
    built.edit("book/_toc.yml", "  - file: executed/02_second\n", "")
    with pytest.raises(CdmlLabError, match=r"book/_toc\.yml does not list executed/02_second"):
        build(built, progress=progress)


def test_build_stops_at_a_failing_chapter_and_resumes_there(
    built: Book, progress: Progress
) -> None:
    built.edit("book/chapters/01_first.py", "VALUE + seed", "VALUE + 1")
    built.edit("book/chapters/02_second.py", "double(seed", "1 / 0, double(seed")
    with pytest.raises(CdmlLabError, match=r"chapter 02_second, cell 3 of 3 .* ZeroDivisionError"):
        build(built, progress=progress)
    built.edit("book/chapters/02_second.py", "1 / 0, ", "2, ")
    assert build(built, progress=progress) == ["02_second"]


def test_chapters_run_at_the_same_time(book: Book, progress: Progress) -> None:
    # each waits for the other
    wait = "while not Path('{}').exists():\n    pass\nPath('{}').touch()\n"
    book.edit(
        "book/chapters/01_first.py",
        "VALUE + seed",
        f"Path('one').touch()\n{wait.format('two', 'three')}VALUE",
    )
    book.edit("book/chapters/02_second.py", "print(", f"{wait.format('one', 'two')}print(")
    assert build(book, jobs=2, timeout_s=LIMIT_S, progress=progress) == ["01_first", "02_second"]
    assert sorted(book.executions()) == ["01_first 0 1.0", "02_second 0"]
    assert build(book, jobs=2, progress=progress) == []


def test_chapters_that_share_a_gpu_run_one_at_a_time(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = []
    monkeypatch.chdir(book.root)
    monkeypatch.setattr(module, "build", lambda layout, **options: jobs.append(options["jobs"]))
    for profile in (
        ["--profile", "gpu"],
        ["-p", "profile", "gpu"],
        ["-p", "profile", "gpu", "--jobs", "3"],
    ):
        assert CliRunner().invoke(app, ["book", "build", *profile]).exit_code == 0
    assert jobs == [1, 1, 3]


def test_failing_chapter_lets_running_ones_finish(book: Book, progress: Progress) -> None:
    book.edit("book/chapters/01_first.py", "VALUE + seed", "1 / 0")
    with pytest.raises(CdmlLabError, match=r"chapter 01_first, cell 4 of 4 .* ZeroDivisionError"):
        build(book, jobs=2, progress=progress)
    assert {path.name for path in book.executed.glob("*.ipynb")} == {"02_second.ipynb"}
    book.edit("book/chapters/01_first.py", "1 / 0", "VALUE")
    assert build(book, jobs=2, progress=progress) == ["01_first"]


def test_build_names_a_cell_that_does_not_parse_before_anything_is_written(
    built: Book, progress: Progress
) -> None:
    before = built.notebook("01_first").read_bytes()
    built.edit("book/chapters/01_first.py", "VALUE + seed", "VALUE + + (seed")
    with pytest.raises(
        CdmlLabError, match=r"chapter 01_first, cell \d+, line \d+ does not parse: "
    ):
        build(built, progress=progress)
    assert built.notebook("01_first").read_bytes() == before


def test_failed_run_is_not_part_of_the_site(built: Book, progress: Progress) -> None:
    built.edit("book/chapters/02_second.py", "double(seed", "1 / 0, double(seed")
    with pytest.raises(CdmlLabError):
        build(built, progress=progress)
    built.edit("book/chapters/02_second.py", "1 / 0, ", "")
    built.edit("book/index.md", "# Start", "# Start again")
    assert built.failed("02_second").is_file()
    assert build(built, progress=progress) == []


def _interruptible() -> None:
    """A background job of a shell ignores Ctrl-C, and so would its child processes."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
def test_build_that_was_stopped_resumes(
    book: Book, progress: Progress, stop: signal.Signals, jobs: str
) -> None:
    pause = book.root / "pause"
    pause.touch()
    book.edit(
        "book/chapters/02_second.py", "print(", "while Path('pause').exists():\n    pass\nprint("
    )
    process = subprocess.Popen(
        [*COMMAND, "--jobs", jobs],
        cwd=book.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_interruptible,
    )
    try:
        until(lambda: "02_second" in "".join(book.peek()) and book.output("01_first").is_file())
        process.send_signal(stop)
        assert process.wait(30) != 0
    finally:
        process.kill()
        pause.unlink()
    assert sorted(book.executions()) == ["01_first 0 1.0", "02_second 0"]
    names = {path.name for path in book.executed.glob("*.ipynb")}
    assert names == {"01_first.ipynb"}
    if stop == signal.SIGINT:
        assert list(book.executed.glob(".running-*")) == []

    assert build(book, progress=progress) == ["02_second"]
    assert book.executions() == ["02_second 0"]
    assert {path.name for path in book.executed.iterdir()} == {"01_first.ipynb", "02_second.ipynb"}


def test_build_is_rejected_while_another_is_running(book: Book, progress: Progress) -> None:
    with building(book):
        run = subprocess.run(COMMAND, cwd=book.root, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("cdmllab: another build is running in this repository (process ")
    assert run.stderr.count("\n") == 1
    with building(book):
        pass
