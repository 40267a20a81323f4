"""The output of the book's Sphinx extension for pages and notebooks."""

import re

import pytest


@pytest.fixture
def cdml_svg(monkeypatch, pytestconfig):
    monkeypatch.syspath_prepend(pytestconfig.rootpath / "book/_ext")
    import cdml_svg

    return cdml_svg


def test_figures_are_drawn_in_the_page(miniature):
    text = (miniature / "page.html").read_text(encoding="utf-8")
    figure = re.search(r'<figure[^>]* id="drawing".*?</figure>', text, re.S)[0]
    assert (
        '<svg viewBox="0 0 432 216" class="cdml-figure" role="img" aria-label="A drawing with ink."'
        in figure
    )
    assert "A drawing with <em>ink</em>." in figure
    assert 'href="#drawing"><span class="std std-numref">Fig. 1</span>' in text
    assert {f"var(--cdml-{name})" for name in ("ink", "grid", "paper", "cdml")} <= set(
        re.findall(r"var\([^)]*\)", figure)
    )
    assert not re.search(r"#1b2330|#c9ced6|#fefefe|#d9542b|<metadata|<style|xmlns|<\?xml", figure)
    assert not (miniature / "_images").exists()


def test_figures_of_a_page_share_no_ids(miniature):
    text = (miniature / "notebook.html").read_text(encoding="utf-8")
    drawings = re.findall(r"<svg viewBox.*?</svg>", text, re.S)
    assert len(drawings) == 2
    ids = [set(re.findall(r' id="([^"]+)"', drawing)) for drawing in drawings]
    assert ids[0].isdisjoint(ids[1])
    for own, drawing in zip(ids, drawings, strict=True):
        used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', drawing))
        assert used
        assert {first or second for first, second in used} <= own


def test_figure_glued_in_another_page_is_drawn(miniature):
    text = (miniature / "page.html").read_text(encoding="utf-8")
    label = "A line that goes up, of another page."
    assert f'<svg viewBox="0 0 432 216" class="cdml-figure" role="img" aria-label="{label}"' in text
    assert 'id="glue1-' in text


MISTAKES = {
    "```{cdml-widget} hologram\n```": "cdml-widget: unknown widget 'hologram'; there are "
    "cdml_at_work",
    "```{cdml-widget} target_logit\n:m9: 1\n```": "Unknown option keys: ['m9']",
    "```{cdml-widget} target_logit\n:m1: "
    "99\n```": "'m1' trait of a TargetLogit instance should not be",
    "```{cdml-widget} target_logit\n:s: big\n```": "could not convert string to float",
    "```{cdml-widget} threshold\n```": "Threshold shows results of a run and needs genuine, "
    "impostor",
    '<div class="cdml-widget" data-widget="gone"></div>': "unknown widget 'gone'",
}
FIGURES = "![](drawing.svg)\n\n```{glue} fig-glued\n:doc: notebook.ipynb\n```"
FORMULAS = "With ({math}`x`), {math}`y`. And {math}`z` alone."
TABLE = "| a |\n|---|\n| `do x_y/z` |\n\nOutside `x/z`."


@pytest.fixture(scope="module")
def other_pages(build_miniature):
    """A miniature with the faulty pages, formulas and table above, and its warnings."""
    wrong = "\n\n".join(MISTAKES)
    folder, warnings = build_miniature(
        page=f"# Widgets\n\n{wrong}",
        two=f"# Figures\n\n{FIGURES}",
        glued=f"# Text\n\n{FORMULAS}\n\n{TABLE}",
    )
    return folder, [
        line for line in warnings.splitlines() if re.search("WARNING|ERROR|CRITICAL", line)
    ]


def test_only_pages_with_faults_are_warned_about(other_pages):
    _, warnings = other_pages
    assert len(warnings) == len(MISTAKES) + 2
    assert not [line for line in warnings if "glued.md" in line]


def test_figures_without_a_text_are_warnings(other_pages):
    _, warnings = other_pages
    for name in ("drawing.svg", "fig-glued"):
        words = f"the drawing {name} has neither a caption nor an alt text"
        assert [line for line in warnings if words in line and "two.md" in line], name


def test_drawing_keeps_embedded_pixels_and_the_requested_width(cdml_svg):
    pixels = '<image xlink:href="data:image/png;base64,AAAA" width="10" height="10"/>'
    space = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    text = cdml_svg.inline(
        f'<svg {space} width="3in" height="96px">{pixels}</svg>', "a-", 'x "y"', "50%"
    )
    assert 'href="data:image/png;base64,AAAA"' in text
    assert 'viewBox="0 0 288 96"' in text
    assert 'aria-label="x &quot;y&quot;" style="width:50%;"' in text


def test_widget_glued_in_another_page_is_drawn(miniature):
    text = (miniature / "glued.html").read_text(encoding="utf-8")
    assert text.count('<div class="cdml-widget" data-widget="threshold"') == 1
    assert re.findall(r"_static/widgets/(\w+)\.js", text) == ["host", "threshold"]


def test_scripts_are_only_where_a_widget_is(miniature):
    scripts = {
        name: re.findall(
            r"_static/widgets/(\w+)\.js", (miniature / f"{name}.html").read_text(encoding="utf-8")
        )
        for name in ("index", "page", "notebook")
    }
    assert scripts == {
        "index": [],
        "page": ["host", "target_logit"],
        "notebook": ["host", "target_logit"],
    }


def test_notebook_output_becomes_the_static_widget_alone(miniature):
    text = (miniature / "notebook.html").read_text(encoding="utf-8")
    assert text.count('<div class="cdml-widget" data-widget="target_logit"') == 1
    assert "widget-view+json" not in text
    assert not re.search(r"require(\.min)?\.js|html-manager|embed-amd", text)


def test_wrong_widgets_are_warnings(other_pages):
    _, warnings = other_pages
    for words in MISTAKES.values():
        assert [line for line in warnings if words in line and "page" in line], words


def test_formulas_stay_next_to_adjacent_punctuation(other_pages):
    text = (other_pages[0] / "glued.html").read_text(encoding="utf-8")
    result = re.findall(
        r'<span class="cdml-unbroken">([^<]*)<span class="math[^>]*>([^<]*)</span>([^<]*)</span>',
        text,
    )
    assert [(before, formula.strip("\\()"), after) for before, formula, after in result] == [
        ("(", "x", "),"),
        ("", "y", "."),
    ]


def test_names_in_tables_may_end_a_line_after_a_slash(other_pages):
    text = (other_pages[0] / "glued.html").read_text(encoding="utf-8")
    codes = [re.sub(r"</?(?!wbr)[^>]+>", "", code) for code in re.findall(r"<code.*?</code>", text)]
    assert codes == ["do x_<wbr>y/<wbr>z", "x/z"]
