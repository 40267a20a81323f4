import json
import os
import time

import pytest
from filelock import FileLock

from cdmllab._util import files
from cdmllab.errors import DataError, MissingError


def test_replacing_puts_the_file_in_place_at_the_end(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.replacing(path) as temporary:
        temporary.write_text("done")
        assert not path.exists()
    assert path.read_text() == "done"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_replacing_keeps_the_old_file_after_an_error(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as temporary:
        temporary.write_text("half") and 1 / 0
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_append_line_adds_complete_lines(tmp_path):
    for k in range(3):
        files.append_line(tmp_path / "log", f"line {k}")
    assert (tmp_path / "log").read_text() == "line 0\nline 1\nline 2\n"


def test_line_written_in_parts_is_complete(tmp_path, monkeypatch):
    """Like a nearly full disk or a signal: write() takes three bytes at a time."""
    write = os.write
    monkeypatch.setattr(
        os, "write", lambda descriptor, content: write(descriptor, bytes(content[:3]))
    )
    files.append_line(tmp_path / "log", "first")
    files.append_line(tmp_path / "log", "second line")
    assert (tmp_path / "log").read_text() == "first\nsecond line\n"


def test_failed_line_leaves_nothing(tmp_path, monkeypatch):
    files.append_line(tmp_path / "log", "first")
    write, left = os.write, [4]

    def full(descriptor, content):
        if not left[0]:
            raise OSError(28, "No space left on device")
        taken = write(descriptor, bytes(content[: left[0]]))
        left[0] = 0
        return taken

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        files.append_line(tmp_path / "log", "second line")
    assert (tmp_path / "log").read_text() == "first\n"


def pipe(path):
    os.mkfifo(path)


def zero(path):
    path.symlink_to("/dev/zero")


def huge(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


def folder(path):
    path.mkdir()


def nothing(path):
    """The file does not exist."""


def not_text(path):
    path.write_bytes(b"\xff\xfe{}")


def deep(path):
    path.write_text("[" * 1_000_000)


def long_number(path):
    path.write_text("9" * 10_000)


@pytest.mark.parametrize("make", [pipe, zero, huge, folder, nothing, not_text, deep, long_number])
@pytest.mark.parametrize("read", [files.read_json, files.read_record, files.read_yaml])
def test_unreadable_file_is_named_in_one_sentence(tmp_path, make, read):
    path = tmp_path / "x"
    make(path)
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) <= 300
    assert isinstance(caught.value, MissingError) is (make is nothing)


def test_link_is_followed_where_links_are_allowed(tmp_path):
    (tmp_path / "x").write_text("{}")
    (tmp_path / "y").symlink_to(tmp_path / "x")
    assert files.read_json(tmp_path / "y") == {}
    with (
        pytest.raises(DataError, match="y is a link"),
        files.opened(tmp_path / "y", at_most=9, links=False),
    ):
        pass


def test_record_must_contain_keys_and_values(tmp_path):
    (tmp_path / "x").write_text("[1]")
    with pytest.raises(DataError, match="x must contain keys and values, not a list"):
        files.read_record(tmp_path / "x")


def test_journal_returns_its_records_and_skips_malformed_lines(tmp_path):
    lines = [
        b'{"a": 1}',
        b"3",
        b"null",
        b'["a"]',
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 10_000,
        b"",
        b'{"a": 2}',
        b'{"a": ',
    ]
    (tmp_path / "x").write_bytes(b"\n".join(lines))
    assert list(files.read_journal(tmp_path / "x")) == [{"a": 1}, {"a": 2}]


def test_overlong_journal_line_is_skipped(tmp_path):
    (tmp_path / "x").write_text(json.dumps({"a": "x" * files.LONGEST_LINE}) + '\n{"a": 1}\n')
    assert list(files.read_journal(tmp_path / "x")) == [{"a": 1}]


def test_workshop_is_removed_at_the_end_with_old_ones(tmp_path):
    left, busy, new = (tmp_path / f".work-{name}" for name in ("left", "busy", "new"))
    for old in (left, busy, new):
        old.mkdir()
        (old / "half").write_text("half")
    for old in (left, busy):
        os.utime(old, (time.time() - 3600,) * 2)
    with FileLock(busy / ".lock"):
        os.utime(busy, (time.time() - 3600,) * 2)
        with files.workshop(tmp_path, ".work-") as place:
            (place / "a").write_text("a")
            assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".work-busy", ".work-new"]


@pytest.mark.parametrize(
    "name", ["/a", "//host/a", "\\a", "a/../b", "..", "c:a", "./c:a", "c:\\a", "a\0b"]
)
def test_names_that_lead_outside_a_folder_on_any_system(name):
    assert files.leads_outside(name)


@pytest.mark.parametrize("name", ["a", "a/b.jpg", "./a", "a..b/c", "a/b:c", ""])
def test_names_that_stay_below_a_folder(name):
    assert not files.leads_outside(name)
