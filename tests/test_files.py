import pytest

from cdmllab import files


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


def test_append_line_adds_whole_lines(tmp_path):
    for k in range(3):
        files.append_line(tmp_path / "log", f"line {k}")
    assert (tmp_path / "log").read_text() == "line 0\nline 1\nline 2\n"
