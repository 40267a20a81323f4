"""Accessibility of widgets and figures; test_built_site checks every page."""

import pytest
from tests.book.access import faults

SCREENS = pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (390, "dark")])


def test_axe_finds_violations(open_page, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><html "
        "lang='en'><title>Bad</title><main><h1>Bad</h1><input><p>text</p></main></html>"
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
def test_wide_figure_is_reached_by_the_keyboard_where_it_scrolls(
    open_page, miniature, width, theme
):
    with open_page(miniature / "page.html", width=width, theme=theme) as page:
        wide = page.locator(".cdml-drawing").first
        scrolls = wide.evaluate("e => e.scrollWidth > e.clientWidth")
        assert scrolls == (width == 390)
        assert wide.get_attribute("tabindex") == ("0" if scrolls else None)
