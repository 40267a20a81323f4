"""The real book in a browser: every page opens from its file, fits the screen and follows the theme."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.book
LARGEST_PAGE_BYTES = 3_000_000
INK = "() => getComputedStyle(document.documentElement).getPropertyValue('--cdml-ink')"


@pytest.fixture
def pages(site: Path) -> list[Path]:
    """Every page of the book; the theme keeps a template of its own among the static files."""
    found = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    assert len(found) >= 4
    return found


@pytest.mark.parametrize(("width", "height", "theme"), [(390, 844, "dark"), (1400, 900, "light")])
def test_every_page_opens_and_fits(open_page, pages, width, height, theme):
    for path in pages:
        with open_page(path, width, height, theme) as page:
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name


def test_no_page_is_heavy(pages):
    """With the pictures it has outside itself; scripts and styles are loaded once for all pages."""
    for path in pages:
        text = path.read_text(encoding="utf-8")
        pictures = [path.parent / name for name in re.findall(r'<img[^>]* src="(?!data:)([^"?]+)', text)]
        weight = path.stat().st_size + sum(picture.stat().st_size for picture in pictures)
        assert weight < LARGEST_PAGE_BYTES, f"{path.name} weighs {weight / 1e6:.1f} MB"


def test_no_page_shows_an_object_for_what_it_means(pages):
    for path in pages:
        text = re.sub(r"<[^>]+>", "", path.read_text(encoding="utf-8"))
        assert not re.search(r"&lt;[\w.]+ (object|at 0x)", text), path.name


def test_the_first_page_answers_the_question(site):
    text = " ".join(re.sub(r"<[^>]+>", "", (site / "index.html").read_text(encoding="utf-8")).split())
    assert re.search(r"Does CDML beat ArcFace\? In our trainings .*? paired seeds .*? 95 % interval", text)


def test_every_figure_is_drawn_in_the_page(open_page, pages):
    figures = 0
    for path in pages:
        with open_page(path) as page:
            assert page.locator("article img[src$='.svg']").count() == 0
            figures += page.locator("article svg.cdml-figure").count()
            labels = page.locator("article svg.cdml-figure").evaluate_all("all => all.map((e) => e.ariaLabel)")
            assert all(label and label != "Figure" for label in labels), path.name
            ids = page.evaluate("[...document.querySelectorAll('svg.cdml-figure [id]')].map(e => e.id)")
            assert len(ids) == len(set(ids))
    assert figures > 0


def test_theme_switch_changes_page_figure_and_widget(open_page, site):
    pages = [path for path in sorted(site.rglob("*.html")) if "cdml-widget" in path.read_text(encoding="utf-8")]
    with open_page(pages[0]) as page:
        ink = page.locator("svg.cdml-figure [style*='fill: var(--cdml-ink)']").first
        seen = set()
        for theme in ("light", "dark"):
            while page.evaluate("document.documentElement.dataset.theme") != theme:
                page.locator(".theme-switch-button").locator("visible=true").first.click()
            colours = [
                page.evaluate(INK),
                ink.evaluate("e => getComputedStyle(e).fill"),
                page.locator(".cdw").first.evaluate("e => getComputedStyle(e).color"),
                page.locator(".cdw").first.evaluate("e => getComputedStyle(e).backgroundColor"),
                page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor"),
            ]
            assert colours[1] == colours[2]
            assert colours[3] == colours[4]
            seen.update(enumerate(colours))
        assert len(seen) == 10
