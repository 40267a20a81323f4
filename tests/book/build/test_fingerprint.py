"""The fingerprint of a chapter's inputs, and the names of its changes."""

import os
from pathlib import Path

import pytest
from tests.book.build.tiny_book import Book

from cdmllab.book.build import fingerprint as module
from cdmllab.book.build.fingerprint import Fingerprint, changes, fingerprint
from cdmllab.book.build.import_graph import reach
from cdmllab.book.build.notebooks import read_chapter
from cdmllab.errors import CdmlLabError


def fingerprint_of(book: Book, chapter: str, **parameters: object) -> Fingerprint:
    return fingerprint(book, chapter, read_chapter(book.source(chapter)), parameters)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / "cdmllab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root / "cdmllab"


def test_reach_follows_every_kind_of_import(tmp_path: Path) -> None:
    package = write(
        tmp_path,
        {
            "__init__.py": "",
            "a.py": "def f():\n    from . import b\n",
            "b.py": "from .sub.inner import x\nimport numpy.linalg\n",
            "sub/__init__.py": "",
            "sub/inner.py": "from ..c import *\nimport json\nNAME = 'cdmllab.d'\nOTHER = "
            "'cdmllab.nothing'\n",
            "c.py": "import sklearn.datasets as s\n",
            "d.py": "",
            "e.py": "",
        },
    )
    result = reach(["from cdmllab import a"], package)
    expected = {"a", "b", "c", "d", "sub", "sub.inner"}
    assert set(result.modules) == {f"cdmllab.{name}" for name in expected}
    assert result.third_party == {"numpy", "sklearn"}


def test_reach_brings_the_data_of_packages(tmp_path: Path) -> None:
    package = write(
        tmp_path,
        {
            "__init__.py": "",
            "root.yaml": "",
            "w/__init__.py": "",
            "w/curve.js": "",
            "w/presets/a.yaml": "",
            "w/other/__init__.py": "",
            "w/other/not.js": "",
            "w/__pycache__/x.pyc": "",
        },
    )
    assert set(reach(["import cdmllab.w"], package).data) == {
        "cdmllab/w/curve.js",
        "cdmllab/w/presets/a.yaml",
    }


def test_reach_does_not_go_through_the_root_or_the_machinery(tmp_path: Path) -> None:
    package = write(
        tmp_path,
        {
            "__init__.py": "from . import a, b\nVERSION = 1\n",
            "a.py": "import cdmllab.book.build.site\nfrom cdmllab.cli import app\n",
            "b.py": "",
            "cli.py": "from cdmllab import b\n",
            "book/__init__.py": "",
            "book/build/__init__.py": "",
            "book/build/site.py": "from cdmllab import b\n",
        },
    )
    assert set(reach(["from cdmllab.a import x"], package).modules) == {"cdmllab.a"}
    own = reach(["from cdmllab import VERSION"], package)
    assert set(own.modules) == {"cdmllab", "cdmllab.a", "cdmllab.b"}


def test_fingerprint_is_stable(book: Book) -> None:
    assert (
        changes(fingerprint_of(book, "01_first", seed=1), fingerprint_of(book, "01_first", seed=1))
        == []
    )


@pytest.mark.parametrize(
    ("path", "old", "new", "first", "second"),
    [
        ("book/chapters/01_first.py", "VALUE + seed", "VALUE - seed", ["source changed"], []),
        ("src/cdmllab/alpha.py", "3", "4", ["cdmllab.alpha changed"], []),
        ("src/cdmllab/beta/inner.py", "2", "3", [], ["cdmllab.beta.inner changed"]),
        ("src/cdmllab/beta/table.json", "{}", "[]", [], ["cdmllab/beta/table.json changed"]),
        ("results/numbers.json", "1", "2", ["results/numbers.json changed"], []),
        ("src/cdmllab/__init__.py", "apart", "alpha", [], []),
    ],
)
def test_changes_are_named_only_for_the_chapters_that_reach_them(
    book: Book, path: str, old: str, new: str, first: list[str], second: list[str]
) -> None:
    before = fingerprint_of(book, "01_first"), fingerprint_of(book, "02_second")
    book.edit(path, old, new)
    assert changes(before[0], fingerprint_of(book, "01_first")) == first
    assert changes(before[1], fingerprint_of(book, "02_second")) == second


def test_changes_report_parameters_versions_and_new_files(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint_of(book, "01_first", seed=1)
    (book.root / "results/more.json").write_text("[]", encoding="utf-8")
    monkeypatch.setattr(module, "versions", lambda _: {"numpy": "9"})
    assert changes(before, fingerprint_of(book, "01_first", seed=2)) == [
        "parameter seed: 1 -> 2",
        "results/more.json is new",
        "numpy absent -> 9",
    ]
    assert changes(None, before) == ["never run"]


def test_fingerprint_of_a_large_file_is_its_size_and_time(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGE_BYTES", 2)
    before = fingerprint_of(book, "01_first")
    os.utime(book.root / "results/numbers.json", ns=(1, 1))
    assert changes(before, fingerprint_of(book, "01_first")) == ["results/numbers.json changed"]


def test_fingerprint_ignores_magics(book: Book) -> None:
    book.edit(
        "book/chapters/01_first.py",
        "from pathlib import Path\n",
        "%matplotlib inline\nfrom pathlib import Path\n",
    )
    assert "cdmllab.alpha" in fingerprint_of(book, "01_first")["code"]


def test_fingerprint_rejects_an_invalid_header(book: Book) -> None:
    book.edit("book/chapters/01_first.py", 'data: ["results/*.json"]', "files: [x]")
    with pytest.raises(CdmlLabError, match="chapter 01_first: the header must have the form"):
        fingerprint_of(book, "01_first")
