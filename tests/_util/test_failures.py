"""Unexpected errors of a command: one sentence, and a file with the traceback."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdmllab._util import failures
from cdmllab.cli import app
from cdmllab.errors import CdmlLabError, DataError, MissingError, cause, plain, reading
from cdmllab.training import presets


class PanicError(BaseException):
    """Like a panic in Rust, which is not an Exception."""


class UnspeakableError(Exception):
    def __str__(self):
        raise MemoryError


def fails(monkeypatch, error):
    """Run `cdmllab presets` with an error inside."""

    def names():
        raise error

    monkeypatch.setattr(presets, "names", names)
    return CliRunner().invoke(app, ["presets"])


def deep(n=0):
    return deep(n + 1)


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("division by zero"),
        RuntimeError("x" * 100_000),
        PanicError("index out of bounds"),
        MemoryError(),
        UnspeakableError(),
        UnicodeDecodeError("utf-8", b"\xff" * 100_000, 0, 1, "invalid start byte"),
        KeyError("\x1b[2J\nb"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_unexpected_error_is_one_sentence_and_a_traceback_file(monkeypatch, tmp_path, error):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = fails(monkeypatch, error)
    assert done.exit_code == 1
    (sentence,) = done.stderr.splitlines()
    assert len(sentence) <= 300
    assert sentence.isprintable()
    (file,) = tmp_path.iterdir()
    assert str(file) in sentence
    kept = file.read_text(encoding="utf-8")
    assert "Traceback" in kept
    assert type(error).__name__ in kept
    assert "in names" in kept
    assert len(kept) < 1.2e6


@pytest.mark.parametrize("where", ["/proc", "/nowhere/at/all"])
def test_message_says_when_no_traceback_can_be_written(monkeypatch, where):
    monkeypatch.setattr(tempfile, "tempdir", where)
    done = fails(monkeypatch, ZeroDivisionError("division by zero"))
    sentence = "failed unexpectedly: division by zero (ZeroDivisionError); its details could not be"
    assert done.stderr.startswith(f"cdmllab: {sentence}")


def test_traceback_is_written_once(tmp_path):
    error = ZeroDivisionError()
    first = failures.keep_traceback(error, tmp_path)
    assert failures.keep_traceback(error, Path("/elsewhere")) == first
    assert str(first) in failures.sentence(error)
    assert list(tmp_path.iterdir()) == [first]


def test_long_messages_of_the_package_are_cut_and_stay_on_one_line(monkeypatch):
    done = fails(monkeypatch, CdmlLabError("begin\r\n\x1b]0;title\x07" + "x" * 100_000 + "end"))
    assert done.stderr.startswith(r"cdmllab: begin \x1b]0;title\x07xxx")
    assert done.stderr.endswith("xxxend\n")
    assert len(done.stderr) < 1100


def test_disk_that_is_full_is_named_without_details(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = fails(monkeypatch, OSError(28, "No space left on device", "a/b"))
    assert done.stderr == "cdmllab: No space left on device: a/b\n"
    assert list(tmp_path.iterdir()) == []


def run(script, **options):
    command = [sys.executable, "-c", f"import sys; from cdmllab.cli import app; {script}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_command_ends_quietly_when_its_reader_is_gone():
    """The pipe is closed before anything is printed, which `| head` does a little later."""
    script = (
        "import os; r, w = os.pipe(); os.close(r); os.dup2(w, 1); sys.argv = ['cdmllab', "
        "'evaluate']; app()"
    )
    done = run(script)
    assert (done.returncode, done.stderr) == (141, "")


def test_other_broken_pipes_are_still_errors(monkeypatch):
    done = fails(monkeypatch, BrokenPipeError(32, "Broken pipe"))
    assert (done.exit_code, done.stderr) == (1, "cdmllab: Broken pipe\n")


def test_commands_work_without_a_stdout():
    done = run("sys.stdout = None; sys.argv = ['cdmllab', 'evaluate']; app()")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OverflowError("too large"), "too large (OverflowError)"),
        (MemoryError(), "it asks for more memory than there is"),
        (RecursionError("maximum recursion depth exceeded"), "it is nested too deeply"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "it is not UTF-8"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (StopIteration(), "StopIteration"),
        (PanicError("index"), "index (PanicError)"),
        (UnspeakableError(), "UnspeakableError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_reading_raises_only_data_errors(error, message):
    with (
        pytest.raises(DataError, match=r"^a/b\.x is not a readable thing: ") as caught,
        reading("a/b.x", "a readable thing"),
    ):
        raise error
    assert str(caught.value).endswith(message)
    assert caught.value.__cause__ is error


def test_file_in_a_folder_is_named_rather_than_the_folder():
    with (
        pytest.raises(DataError, match=r"^a/c is not a readable thing: Permission denied$"),
        reading("a", "a readable thing"),
    ):
        raise PermissionError(13, "Permission denied", "a/c")


def test_reading_passes_on_project_errors_and_interrupts():
    for error in (CdmlLabError("ours"), DataError("ours"), KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(error)) as caught, reading("a", "b"):
            raise error
        assert caught.value is error


def test_missing_file_is_a_data_error_and_a_file_not_found_error():
    with (
        pytest.raises(MissingError, match=r"^/no/such does not exist$") as caught,
        reading("x", "text"),
    ):
        Path("/no/such").read_bytes()
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, DataError)


def test_messages_are_short_whatever_they_quote():
    with pytest.raises(DataError) as caught, reading("p/" * 5000, "text"):
        raise ValueError("v" * 100_000)
    assert len(str(caught.value)) <= 300
    assert plain("a\n\tb\x00\udcff") == r"a b\x00\udcff"
    assert len(cause(ValueError("\x00" * 1000), 100)) <= 100
    assert plain("é 日本") == "é 日本"


def test_recursion_error_in_a_reader_is_one_sentence():
    with pytest.raises(DataError, match="it is nested too deeply"), reading("a", "text"):
        deep()
