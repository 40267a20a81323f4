"""The style sheet, figures, extension and widgets use the same palette."""

import re

import pytest
from tests.book.contrasts import contrast, hexadecimal

from cdmllab.book import widgets
from cdmllab.plots import style


@pytest.fixture(scope="module")
def palettes(pytestconfig):
    """The custom properties of the style sheet, light and dark."""
    css = (pytestconfig.rootpath / "book/_static/cdml.css").read_text(encoding="utf-8")
    light = re.search(r"^html \{(.*?)\}", css, re.S | re.M)[1]
    dark = re.search(r'^  html\[data-theme="dark"\] \{(.*?)\}', css, re.S | re.M)[1]
    return {
        name: dict(re.findall(r"--cdml-(\w+): (#\w{6});", text))
        for name, text in (("light", light), ("dark", dark))
    }


def test_contrast_of_black_and_white_is_twenty_one():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert hexadecimal("rgb(217, 84, 43)") == style.COLOURS["cdml"]


def test_style_sheet_has_the_colours_of_the_figures(palettes):
    assert {name: palettes["light"][name] for name in style.COLOURS} == style.COLOURS
    assert palettes["light"]["ink"] == style.INK
    assert palettes["light"]["grid"] == style.GRID
    assert palettes["light"].keys() == palettes["dark"].keys()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_contrast_with_the_page(palettes, theme):
    colours = palettes[theme]
    for name in style.COLOURS:
        assert contrast(colours[name], colours["paper"]) >= 3, name
    for name in ("ink", "muted", "accent"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
        assert contrast(colours[name], colours["surface"]) >= 4.5, name


def test_extension_has_the_colours_of_the_figures(pytestconfig, monkeypatch):
    monkeypatch.syspath_prepend(pytestconfig.rootpath / "book/_ext")
    import cdml_svg

    known = {style.INK: "ink", style.GRID: "grid", style.PAPER: "paper"}
    assert known | {colour: name for name, colour in style.COLOURS.items()} == cdml_svg.THEME


@pytest.mark.parametrize("name", widgets.names())
def test_widgets_fall_back_to_the_same_colours(name):
    """In the kit a loss and its colour are next to each other: "cosface", "#2a9d7f"."""
    pairs = re.findall(r'"(\w+)", "(#\w{6})"', widgets.source(name))
    assert dict(pairs) == style.COLOURS


def test_widgets_have_the_colours_of_identities_and_pairs():
    (listed,) = re.findall(r"IDENTITIES = \[(.*?)\]", widgets.source("hypersphere"), re.S)
    assert tuple(re.findall(r"#\w{6}", listed)) == style.IDENTITY_COLOURS
    assert (
        f'[GENUINE, IMPOSTOR] = ["var(--cdml-cosface, {style.GENUINE})", "{style.IMPOSTOR}"]'
        in widgets.source("threshold")
    )
