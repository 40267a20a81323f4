import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.making import folder, jpeg

from cdmllab._util.files import printable
from cdmllab.data import folders, walk
from cdmllab.errors import DataError


def put(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def left(root: Path, *ignore: str) -> dict[str, str]:
    return {item.name: item.why for item in walk.walk(root, ignore)[1]}


def names(root: Path, *ignore: str) -> list[str]:
    return [folder.path.relative_to(root).as_posix() for folder in walk.walk(root, ignore)[0]]


@pytest.mark.parametrize("target", ["..", ".", "../p1", "/", "nowhere"])
def test_links_to_folders_are_not_followed_but_reported(tmp_path, target):
    """A link to the parent, if followed, turns one person into 41: the system stops at 40 links."""
    root = folder(tmp_path / "f", (2, 2))
    (root / "p0/link").symlink_to(target)
    assert names(root) == ["p0", "p1"]
    assert left(root) == {"p0/link": walk.LINK}


def test_links_to_images_are_not_followed_but_reported(tmp_path):
    outside = put(tmp_path / "outside.jpg", jpeg(1))
    root = folder(tmp_path / "f", (2, 1))
    (root / "p1/outside.jpg").symlink_to(outside)
    (root / "p1/again.jpg").symlink_to("../p0/0.jpg")
    assert [len(folder.images) for folder in walk.walk(root)[0]] == [2, 1]
    assert left(root) == {"p1/again.jpg": walk.LINK, "p1/outside.jpg": walk.LINK}


def test_root_may_be_a_link(tmp_path):
    folder(tmp_path / "f", (1, 1))
    (tmp_path / "link").symlink_to("f")
    assert folders.listing(tmp_path / "link").names == ("p0", "p1")


LEFT_LYING = [
    "p0/@eaDir/0.jpg/SYNOPHOTO_THUMB_M.jpg",
    "p0/.thumbnails/0.jpg",
    ".@__thumb/0.jpg",
    "__MACOSX/p0/._0.jpg",
    "p0/._0.jpg",
    "p0/Thumbs.db",
    "p0/THUMBS.DB",
    "p0/.DS_Store",
    "desktop.ini",
    "@Recycle/p9/0.jpg",
    "#recycle/p9/0.jpg",
    "$RECYCLE.BIN/p9/0.jpg",
    "p0/.ipynb_checkpoints/0-checkpoint.jpg",
]


@pytest.mark.parametrize("name", LEFT_LYING)
def test_clutter_of_programs_is_no_identity(tmp_path, name):
    root = folder(tmp_path / "f", (1, 1))
    put(root / name, jpeg(0))
    folders, out = walk.walk(root)
    assert [(folder.path.name, len(folder.images)) for folder in folders] == [("p0", 1), ("p1", 1)]
    (item,) = out
    assert item.harmless
    assert item.why.startswith("ignored (")
    assert name.startswith(item.name)


def test_page_of_data_sets_lists_what_is_ignored():
    page = (Path(__file__).parents[2] / "book/datasets.md").read_text(encoding="utf-8")
    listed = page.split("- **Clutter**")[1].split("- **Names**")[0]
    assert [
        pattern for pattern in walk.IGNORED if pattern != ".*" and f"`{pattern}`" not in listed
    ] == []


def test_people_with_strange_names_are_people(tmp_path):
    for name in ("@user", "#1", "thumbs", "Über uns", "macosx", "a.b"):
        put(tmp_path / name / "1.jpg")
    assert len(names(tmp_path)) == 6
    assert left(tmp_path) == {}


def test_patterns_match_names_and_paths_in_any_case(tmp_path):
    for name in ("p0/1.jpg", "p0/small_1.jpg", "Raw/1.jpg", "p1/raw/1.jpg", "p2/raw/1.jpg"):
        put(tmp_path / name)
    assert names(tmp_path, "raw", "small_*") == ["p0"]
    assert left(tmp_path, "raw/") == dict.fromkeys(("Raw/", "p1/raw/", "p2/raw/"), "ignored (raw/)")
    assert names(tmp_path, "p1/raw") == ["Raw", "p0", "p2/raw"]


def test_every_file_that_is_not_read_has_its_reason(tmp_path):
    root = folder(tmp_path / "f", (1,))
    for name in ("p0/a.heic", "p0/b.HEIC", "p0/c.cr2", "p0/note.txt", "p0/none", "lost.jpg"):
        put(root / name)
    (root / "p1").mkdir()
    os.mkfifo(root / "p0/pipe.jpg")
    assert left(root) == {
        "lost.jpg": walk.LOOSE,
        "p0/a.heic": ".heic images are not read",
        "p0/b.HEIC": ".heic images are not read",
        "p0/c.cr2": ".cr2 images are not read",
        "p0/none": "no image (no ending)",
        "p0/note.txt": "no image (.txt)",
        "p0/pipe.jpg": "neither a file nor a folder",
        "p1/": "an empty folder",
    }
    assert [item.name for item in walk.walk(root)[1] if item.harmless] == [
        "p0/none",
        "p0/note.txt",
        "p0/pipe.jpg",
    ]
    assert walk.summary(walk.walk(root)[1])[0] == "2 (p0/a.heic, ...): .heic images are not read"


@pytest.mark.parametrize(
    "ending", ["jfif", "JPE", "gif", "avif", "webp", "jp2", "pbm", "tif", "mpo", "apng"]
)
def test_endings_of_what_pillow_reads_are_images(tmp_path, ending):
    put(tmp_path / f"p0/1.{ending}")
    assert names(tmp_path) == ["p0"]


def test_folder_that_may_not_be_listed_is_reported(tmp_path, monkeypatch):
    root = folder(tmp_path / "f", (1, 1))
    real = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "p1":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(root) == ["p0"]
    assert left(root) == {"p1/": "the folder cannot be read (Permission denied)"}


def test_folders_deeper_than_the_recursion_limit_are_walked(tmp_path):
    here, depth = Path.cwd(), 1010
    os.chdir(tmp_path)
    try:
        for _ in range(depth):
            Path("a").mkdir()
            os.chdir("a")
        put(Path("1.jpg"))
        (deepest,), _ = walk.walk(tmp_path)
        assert deepest.path.as_posix().count("/a") == depth
        Path("1.jpg").unlink()
        for _ in range(depth):
            os.chdir("..")
            Path("a").rmdir()
    finally:
        os.chdir(here)


def test_people_with_few_images_are_reported(tmp_path):
    root = folder(tmp_path / "f", (3, 1, 2))
    people = folders.listing(root, min_images=2)
    assert people.names == ("p0", "p2")
    assert [(item.name, item.why) for item in people.left_out] == [("p1/0.jpg", walk.FEW)]


def test_folder_without_images_reports_its_contents(tmp_path):
    for k in range(3):
        put(tmp_path / f"p{k}/1.heic")
    with pytest.raises(
        DataError,
        match=r"contains no folders of images .*; left out 3 \(p0/1\.heic, \.\.\.\): \.heic images "
        r"are not read",
    ):
        folders.listing(tmp_path)


UNDO = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4})")


def undone(match: re.Match[str]) -> str:
    code = match[1]
    if code == "\\":
        return code
    value = int(code[1:], 16)
    return chr(value + 0xDC00 if code[0] == "x" and value >= 128 else value)


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1),
    st.binary(min_size=1),
)
def test_printable_names_are_utf8_one_line_and_different(text, raw):
    name = os.fsdecode(raw)
    for one in (text, name):
        assert len(printable(one).encode().decode().splitlines()) == 1
        assert UNDO.sub(undone, printable(one)) == one  # so no two names look the same


def test_printable_does_not_change_ordinary_names():
    for name in ("Ann", "José María", "山田 太郎", "o'neil", "a b"):
        assert printable(name) == name
    assert printable(os.fsdecode(b"M\xfcller")) == "M\\xfcller"
    assert printable("a\nb\\c") == "a\\x0ab\\\\c"
