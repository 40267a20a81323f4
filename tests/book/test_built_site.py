"""The real book in a browser: every page opens from its file, fits the screen, is accessible,
follows the theme.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.book.access import faults

from cdmllab import results
from cdmllab._util.files import read_json

pytestmark = pytest.mark.book
LARGEST_PAGE_BYTES = 3_000_000
CUT = """() => {  // with every solution unfolded
  document.querySelectorAll("details").forEach((e) => { e.open = true; });
  const width = (e) => e.getBoundingClientRect().width;
  return [...document.querySelectorAll("article span.math")]
    .filter((e) => width(e.querySelector("svg")) > width(e) + 1)
    .map((e) => e.closest("p, li, td, dd").innerText);
}"""
INK = "() => getComputedStyle(document.documentElement).getPropertyValue('--cdml-ink')"


class Visit(NamedTuple):
    """The observations on an opened page, without fetches and without console messages."""

    name: str
    cut: list[str]  # formulas within a line that are wider than it
    too_wide_px: int
    undrawn: int  # figures that are not part of the page
    labels: list[str]  # of the figures, for who listens
    ids: list[str]  # within the figures
    faults: list[str]  # of accessibility, serious ones


@pytest.fixture(scope="module")
def pages(site: Path) -> list[Path]:
    """Every page of the book, without the theme's template among the static files."""
    result = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    assert len(result) >= 4
    return result


@pytest.fixture(
    scope="module",
    params=[(390, 844, "dark"), (1400, 900, "light")],
    ids=["narrow-dark", "wide-light"],
)
def visits(request, open_page, pages) -> list[Visit]:
    """Open every page once per screen size and collect the observations for all tests."""
    width, height, theme = request.param
    seen = []
    for path in pages:
        with open_page(path, width, height, theme) as page:
            page.wait_for_load_state("networkidle")
            drawings = page.locator("article svg.cdml-figure")
            visit = Visit(
                name=path.name,
                cut=page.evaluate(CUT),
                too_wide_px=page.evaluate("document.documentElement.scrollWidth") - width,
                undrawn=page.locator("article img[src$='.svg']").count(),
                labels=drawings.evaluate_all("all => all.map((e) => e.ariaLabel)"),
                ids=page.evaluate(
                    "[...document.querySelectorAll('svg.cdml-figure [id]')].map(e => e.id)"
                ),
                faults=faults(page),
            )
        seen.append(visit)
    return seen


def test_every_page_opens_and_fits(visits):
    assert [visit.name for visit in visits if visit.too_wide_px > 0] == []


def test_no_formula_is_cut(visits):
    assert {visit.name: visit.cut for visit in visits if visit.cut} == {}


def test_no_page_has_a_serious_fault(visits):
    assert len(visits) >= 10
    assert {visit.name: visit.faults for visit in visits if visit.faults} == {}


def test_every_figure_is_drawn_in_the_page(visits):
    assert sum(len(visit.labels) for visit in visits) > 0
    for visit in visits:
        assert visit.undrawn == 0, visit.name
        assert all(label and label != "Figure" for label in visit.labels), visit.name
        assert len(visit.ids) == len(set(visit.ids)), visit.name


def test_no_page_is_heavy(pages):
    """The size of a page with its images; scripts and styles are loaded once for all pages."""
    for path in pages:
        text = path.read_text(encoding="utf-8")
        images = [
            path.parent / name for name in re.findall(r'<img[^>]* src="(?!data:)([^"?]+)', text)
        ]
        weight = path.stat().st_size + sum(image.stat().st_size for image in images)
        assert weight < LARGEST_PAGE_BYTES, f"{path.name} weighs {weight / 1e6:.1f} MB"


def test_no_page_shows_the_repr_of_an_object(pages):
    for path in pages:
        text = re.sub(r"<[^>]+>", "", path.read_text(encoding="utf-8"))
        assert not re.search(r"&lt;[\w.]+ (object|at 0x)", text), path.name


def test_first_page_answers_the_question(site):
    text = " ".join(
        re.sub(r"<[^>]+>", "", (site / "index.html").read_text(encoding="utf-8")).split()
    )
    assert re.search(
        r"Does CDML beat ArcFace\? CDML as its document writes it .*? paired seeds .*? 95 % "
        r"interval",
        text,
    )


def test_gpu_page_shows_the_chapters_that_ran_there(site):
    page = (site / "gpu.html").read_text(encoding="utf-8")
    rows = [re.sub(r"<[^>]+>", "", row).split() for row in re.findall(r"<tr.*?</tr>", page, re.S)]
    kept = sorted((results.folder() / "gpu").glob("*.ipynb"))
    assert kept
    for path in kept:
        provenance = read_json(path)["metadata"]["cdmllab"]["provenance"]
        (row,) = [row for row in rows if path.name in row]
        assert " ".join([provenance["command"], provenance["gpu"]]) in " ".join(row)
        (link,) = re.findall(rf'href="(_downloads/[^"]+/{path.name})"', page)
        assert (site / link).read_bytes() == path.read_bytes()
    assert "cdml-figure" in page


def test_theme_switch_changes_page_figure_and_widget(open_page, site):
    pages = [
        path
        for path in sorted(site.rglob("*.html"))
        if "cdml-widget" in path.read_text(encoding="utf-8")
    ]
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
