"""The site is replaced in one step, and loads nothing over the network."""

import json
from pathlib import Path

import pytest
from tests.book.build.tiny_book import Book

from cdmllab.book.build import site
from cdmllab.book.build.offline import external_loads
from cdmllab.book.build.pipeline import build
from cdmllab.book.build.progress import Progress
from cdmllab.book.build.sphinx_log import complaints, plain
from cdmllab.errors import CdmlLabError

PAGES = {
    "a.html": '<script src="_static/x.js"></script><a href="https://example.org">out</a>',
    "b/c.html": '<link rel="canonical" href="https://example.org"/><img '
    'src="data:image/png;base64,AA"/>',
    "_static/x.css": "@import 'y.css'; p { background: url(z.png) }",
}
LOADS = {
    "script": '<script src="https://cdn.example.org/require.js"></script>',
    "script-without-scheme": '<script src="//cdn.example.org/require.js"></script>',
    "style-sheet": '<link rel="stylesheet" href="https://fonts.example.org/a.css">',
    "preload": '<link rel="preload" as="font" href="https://fonts.example.org/a.woff">',
    "image": '<img alt="" src="http://example.org/a.png">',
    "image-set": '<img srcset="a.png 1x, https://example.org/b.png 2x">',
    "frame": '<iframe src="https://example.org"></iframe>',
    "style": '<p style="background: url(https://example.org/a.png)">',
    "style-element": "<style>@import url('https://example.org/a.css');</style>",
    "module": '<script type="module">import a from "https://esm.example.org/a"</script>',
}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def test_external_loads_ignore_links_and_local_files(tmp_path: Path) -> None:
    write(tmp_path, PAGES)
    assert external_loads(tmp_path) == []


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_external_loads_finds(tmp_path: Path, load: str) -> None:
    write(tmp_path, {**PAGES, "b/d.html": f"<html><body>{load}</body></html>"})
    (result,) = external_loads(tmp_path)
    assert result.startswith("b/d.html: ")
    assert "example.org" in result


def test_external_loads_reads_style_sheets(tmp_path: Path) -> None:
    write(tmp_path, {**PAGES, "_static/y.css": "@font-face { src: url('//example.org/f.woff') }"})
    assert external_loads(tmp_path) == ["_static/y.css: //example.org/f.woff"]


def test_complaints_name_file_line_and_cell_once() -> None:
    log = plain(
        "reading...\x1b[2K\r\x1b[91m/tree/book/index.md:3: WARNING: no such thing "
        "[myst.xref]\x1b[39m\n"
        "/tree/book/index.md:3: WARNING: no such thing [myst.xref]\n"
        "/tree/book/executed/01_a.ipynb:40002: ERROR: bad directive\n"
        "/tree/book/_toc.yml: WARNING: lonely\n"
        "WARNING: unknown config value 'x'\n"
        "Extension error (cdml_book):\nit broke\n"
        "build finished with problems, 4 warnings.\n"
    )
    assert complaints(log, Path("/tree")) == [
        "book/index.md:3: no such thing [myst.xref]",
        "book/executed/01_a.ipynb, cell 4: bad directive",
        "book/_toc.yml: lonely",
        "unknown config value 'x'",
        "Extension error (cdml_book): it broke",
    ]


def test_site_opens_without_a_network(built_once: Book) -> None:
    page = (built_once.html / "executed/01_first.html").read_text(encoding="utf-8")
    assert external_loads(built_once.html) == []
    assert "mathjax/tex-svg-full.js" in page
    assert (built_once.html / "mathjax/tex-svg-full.js").is_file()
    assert not list(built_once.html.rglob("README.md"))  # of book/_vendor, not for readers
    for word in ("require.js", "html-manager", "thebe", "cdn."):
        assert word not in page
    search = (built_once.html / "_static/documentation_options.js").read_text(encoding="utf-8")
    assert (
        "SHOW_SEARCH_SUMMARY: false" in search
    )  # summaries are fetched, which browsers forbid on file://


def test_site_is_not_built_again_when_nothing_changed(
    built: Book, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "_run_jupyter_book", lambda *_: pytest.fail("it was built"))
    assert build(built, progress=progress) == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("book/index.md", "book/index.md changed"),
        ("_config.yml", "_config.yml changed"),
        ("book/_ext/cdml_book.py", "book/_ext/cdml_book.py changed"),
        ("book/_static/new.css", "book/_static/new.css is new"),
        ("book/executed/01_first.ipynb", "book/executed/01_first.ipynb changed"),
        ("results/table.csv", "results/table.csv is new"),
        ("src/cdmllab/book/widgets/curve.js", "src/cdmllab/book/widgets/curve.js is new"),
    ],
)
def test_site_is_due_when_an_input_changed(built: Book, path: str, reason: str) -> None:
    assert site.reasons(built) == []
    file = built.root / path
    file.parent.mkdir(exist_ok=True)
    with file.open("a", encoding="utf-8") as text:
        text.write("\n")
    assert site.reasons(built) == [reason]


def test_site_without_its_first_page_is_due(built: Book) -> None:
    page = built.html / "index.html"
    kept = page.read_bytes()
    page.unlink()
    assert site.reasons(built) == ["its first page is missing"]
    page.write_bytes(kept)
    assert site.reasons(built) == []


def test_site_with_a_broken_reference_is_rejected_and_the_old_one_kept(built: Book) -> None:
    before = (built.html / "index.html").read_bytes()
    built.edit("book/index.md", "# Start", "# Fresh start\n\n[](#nowhere)")
    with pytest.raises(
        site.SiteError,
        match=r"^the site was not built: book/index\.md:3: .*nowhere.* book/_build/build\.log\)$",
    ):
        site.build(built)
    assert (built.html / "index.html").read_bytes() == before
    assert "nowhere" in built.log.read_text(encoding="utf-8")
    assert site.reasons(built) == ["book/index.md changed"]
    assert list(built.build.glob(".staging-*")) == []


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Pages that replace the output of jupyter-book."""
    pages = dict(PAGES)
    monkeypatch.setattr(
        site, "_run_jupyter_book", lambda _, folder: write(folder / "_build/html", pages)
    )
    return pages


def test_site_that_loads_over_the_network_is_rejected(book: Book, fake: dict[str, str]) -> None:
    book.build.mkdir()
    fake["d.html"] = LOADS["script"]
    with pytest.raises(
        site.SiteError, match=r"1 files over the network, the first in d\.html: https://cdn"
    ):
        site.build(book)
    assert not book.html.exists()


def test_site_replaces_the_old_one_completely(book: Book, fake: dict[str, str]) -> None:
    write(book.html, {"old.html": "", "a.html": "old"})
    assert site.build(book) == 2
    assert not (book.html / "old.html").exists()
    assert (book.html / "a.html").read_text(encoding="utf-8") == PAGES["a.html"]
    assert "book/index.md" in json.loads((book.html / site.RECORD).read_text(encoding="utf-8"))
    assert [path.name for path in book.build.iterdir()] == ["html"]


def test_site_is_restored_after_a_build_killed_between_two_renames(
    book: Book, fake: dict[str, str]
) -> None:
    write(book.build / site.PREVIOUS, {"old.html": "old"})
    write(book.build / ".staging-1", {"x": ""})
    fake["a.html"] = LOADS["script"]
    with pytest.raises(CdmlLabError):
        site.build(book)
    assert (book.html / "old.html").read_text(encoding="utf-8") == "old"
    assert [path.name for path in book.build.iterdir()] == ["html"]
