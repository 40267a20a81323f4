"""axe-core finds no serious fault for readers who listen to a page, or use a keyboard, on any page."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

AXE = Path(__file__).parent / "axe/axe.min.js"
RUN = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"], preload: false });
  return { rules: found.passes.length, faults: found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")} ${node.html.slice(0, 200)}`)) };
}"""
SCREENS = pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (390, "dark")])


def faults(page: Page) -> list[str]:
    """What axe finds, one line an element."""
    page.wait_for_load_state("networkidle")
    page.add_script_tag(path=AXE)
    found = page.evaluate(RUN)
    assert found["rules"] > 10  # it did look
    return found["faults"]


def test_axe_finds_what_is_wrong(open_page, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><html lang='en'><title>Bad</title><main><h1>Bad</h1><input><p>text</p></main></html>"
    )
    with open_page(bad) as page:
        (fault,) = faults(page)
    assert fault.startswith("label: input")


@SCREENS
def test_widgets_have_no_serious_fault(open_page, miniature, width, theme):
    for name in ("widgets", "page", "glued"):
        with open_page(miniature / f"{name}.html", width=width, theme=theme) as page:
            assert faults(page) == [], name


@SCREENS
def test_wide_figure_is_reached_by_the_keyboard_where_it_scrolls(open_page, miniature, width, theme):
    with open_page(miniature / "page.html", width=width, theme=theme) as page:
        wide = page.locator(".cdml-drawing").first
        scrolls = wide.evaluate("e => e.scrollWidth > e.clientWidth")
        assert scrolls == (width == 390)
        assert wide.get_attribute("tabindex") == ("0" if scrolls else None)


@pytest.mark.book
@SCREENS
def test_no_page_has_a_serious_fault(open_page, site, width, theme):
    pages = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    assert len(pages) >= 10
    found = {}
    for path in pages:
        with open_page(path, width=width, theme=theme) as page:
            found[path.name] = faults(page)
    assert {name: lines for name, lines in found.items() if lines} == {}
