"""Symbolic links in a folder that anybody may have made."""

import pytest

from cdmllab._util import links
from cdmllab._util.files import append_line
from cdmllab.errors import DataError


@pytest.mark.parametrize("name", ["link", "a/b/link", "a/.link.tmp"])
@pytest.mark.parametrize("target", ["file", "folder", "nothing"])
def test_link_is_refused_by_name(tmp_path, name, target):
    """Whether it leads to a file, to a folder or to nothing yet."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "own/a/b").mkdir(parents=True)
    (tmp_path / "own" / name).symlink_to(tmp_path / target)
    with pytest.raises(DataError) as caught:
        links.refuse(tmp_path / "own", "a run's folder")
    assert str(caught.value).startswith(f"{tmp_path / 'own' / name} is a link, but a run's folder")


def test_folder_without_links_passes_even_behind_a_link(tmp_path):
    (tmp_path / "own/a/b").mkdir(parents=True)
    (tmp_path / "own/a/file").touch()
    (tmp_path / "elsewhere").symlink_to(tmp_path / "own")
    links.refuse(tmp_path / "own", "a run's folder")
    links.refuse(tmp_path / "elsewhere", "a run's folder")


def test_missing_folder_passes(tmp_path):
    """A checkpoint may be removed while the folder is looked through."""
    links.refuse(tmp_path / "nothing", "a run's folder")


def test_line_is_not_appended_through_a_link(tmp_path):
    (tmp_path / "precious").write_text("a\n")
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        append_line(tmp_path / "metrics.jsonl", "b")
    assert (tmp_path / "precious").read_text() == "a\n"
