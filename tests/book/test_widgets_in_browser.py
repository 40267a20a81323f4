"""The static widget on built pages, moved by mouse, keyboard and finger, against the package's numbers."""

from pathlib import Path

import numpy as np
import pytest
from curves import CURVE, drawn_curve, expected, expected_readout, readout
from playwright.sync_api import Page

NEUTRAL = {"m1": 1.0, "m2": 0.0, "m3": 0.0}


@pytest.fixture(params=["miniature", pytest.param("site", marks=pytest.mark.book)])
def widget_page(request: pytest.FixtureRequest) -> Path:
    """A built page with the explorer: one of the miniature, one of the book."""
    folder: Path = request.getfixturevalue(request.param)
    pages = [
        page
        for page in sorted(folder.rglob("*.html"))
        if 'data-widget="target_logit"' in page.read_text(encoding="utf-8")
    ]
    assert pages, f"no page of {folder} has the widget"
    return pages[0]


def slider(page: Page, name: str):
    return page.locator(f".cdml-widget input[name={name}]").first


def state(page: Page) -> dict:
    values = {name: float(slider(page, name).input_value()) for name in ("m1", "m2", "m3", "s", "theta_deg")}
    chosen = page.locator(".cdml-widget").first.locator("input[type=radio]:checked").input_value()
    return {**values, "beyond_pi": chosen}


def check(page: Page) -> None:
    """The drawn curve and the written numbers are the package's for the state of the controls."""
    now = state(page)
    theta_deg = now.pop("theta_deg")
    angles, values = drawn_curve(page)
    assert len(angles) > 300
    assert angles.min() == pytest.approx(0, abs=1e-6)
    assert angles.max() == pytest.approx(180, abs=1e-6)
    np.testing.assert_allclose(values, expected(angles, **now), rtol=0, atol=1e-6)
    assert readout(page) == expected_readout(theta_deg, **now)


def test_widget_begins_as_the_package_says(open_page, widget_page):
    with open_page(widget_page) as page:
        check(page)
        angles, values = drawn_curve(page, ".cdml-widget .tl-reference")
        plain = expected(angles, state(page)["s"], **NEUTRAL)
        np.testing.assert_allclose(values, plain, rtol=0, atol=1e-6)


def test_dragging_a_slider_moves_the_curve(open_page, widget_page):
    with open_page(widget_page) as page:
        m2, before = slider(page, "m2"), page.locator(CURVE).first.get_attribute("d")
        m2.scroll_into_view_if_needed()
        box = m2.bounding_box()
        x = box["x"] + 8 + (box["width"] - 16) * float(m2.input_value())
        y = box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.8, y, steps=5)
        page.mouse.up()
        assert float(m2.input_value()) == pytest.approx(0.8, abs=0.03)
        assert page.locator(CURVE).first.get_attribute("d") != before
        check(page)


def test_arrow_keys_move_the_curve(open_page, widget_page):
    with open_page(widget_page) as page:
        m2 = slider(page, "m2")
        m2.focus()
        start = float(m2.input_value())
        before = page.locator(CURVE).first.get_attribute("d")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert float(m2.input_value()) == pytest.approx(start + 0.03)
        assert page.locator(CURVE).first.get_attribute("d") != before
        check(page)


@pytest.mark.parametrize("beyond_pi", ["linear", "clip", "none"])
def test_widget_curve_equals_python(open_page, widget_page, beyond_pi):
    settings = [
        {"m1": 1.0, "m2": 0.5, "m3": 0.0, "s": 64, "theta_deg": 175},
        {"m1": 1.35, "m2": 0.0, "m3": 0.0, "s": 30, "theta_deg": 20.5},
        {"m1": 0.9, "m2": 0.4, "m3": 0.15, "s": 64, "theta_deg": 0},
        {"m1": 2.0, "m2": 1.0, "m3": 1.0, "s": 1, "theta_deg": 90},
        {"m1": 0.5, "m2": 0.0, "m3": 0.0, "s": 16, "theta_deg": 180},
    ]
    with open_page(widget_page) as page:
        chosen = page.locator(".cdml-widget").first.get_by_label(beyond_pi, exact=True)
        chosen.locator("xpath=..").click()  # the radio button is hidden in its label, which is what a reader clicks
        assert chosen.is_checked()
        for values in settings:
            for name, value in values.items():
                slider(page, name).fill(str(value))
            assert state(page) == {**values, "beyond_pi": beyond_pi}
            check(page)


@pytest.mark.parametrize(
    ("name", "margin"),
    [
        ("NormFace", (1, 0, 0)),
        ("SphereFace", (1.35, 0, 0)),
        ("CosFace", (1, 0, 0.35)),
        ("ArcFace", (1, 0.5, 0)),
        ("CM1", (1, 0.3, 0.2)),
        ("CM2", (0.9, 0.4, 0.15)),
    ],
)
def test_preset_sets_its_margins(open_page, miniature, name, margin):
    with open_page(miniature / "page.html") as page:
        button = page.get_by_role("button", name=name, exact=True)
        button.click()
        assert tuple(state(page)[key] for key in ("m1", "m2", "m3")) == margin
        assert button.get_attribute("aria-pressed") == "true"
        assert page.locator(".cdw-chip[aria-pressed=true]").count() == 1
        check(page)


def test_finger_drags_the_marker(open_page, widget_page):
    with open_page(widget_page, width=390, height=844, touch=True) as page:
        marker = page.locator(".cdml-widget .tl-marker").first
        marker.scroll_into_view_if_needed()
        box = marker.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        before = state(page)["theta_deg"]
        touch = page.context.new_cdp_session(page)
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for step in range(1, 9):
            point = {"x": x + 8 * step, "y": y}
            touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        frame = page.locator(CURVE).first.evaluate("e => Number(e.dataset.right) - Number(e.dataset.left)")
        assert state(page)["theta_deg"] == pytest.approx(before + 64 / frame * 180, abs=0.5)
        check(page)


def test_mouse_drags_the_marker_and_stops_at_the_frame(open_page, miniature):
    with open_page(miniature / "page.html") as page:
        marker = page.locator(".tl-marker")
        marker.scroll_into_view_if_needed()
        box = marker.bounding_box()
        page.mouse.move(box["x"] + 8, box["y"] + 8)
        page.mouse.down()
        page.mouse.move(2, box["y"], steps=4)
        assert state(page)["theta_deg"] == 0
        page.mouse.up()
        page.mouse.move(box["x"] + 8, box["y"] + 8)
        assert state(page)["theta_deg"] == 0


def test_widget_tells_a_screen_reader(open_page, miniature):
    with open_page(miniature / "page.html") as page:
        for control in page.locator(".cdml-widget input").all():
            assert control.evaluate("e => e.labels.length") == 1
        slider(page, "theta_deg").fill("30")
        picture = page.locator(".cdml-widget svg[role=img]")
        described = picture.evaluate("e => e.querySelector('desc').textContent")
        assert "at 30.0° the cosine is 0.8660" in described
        page.wait_for_function(
            "text => document.querySelector('[aria-live=polite]').textContent === text", arg=described
        )


def test_each_widget_of_a_page_has_its_own_state(open_page, miniature):
    with open_page(miniature / "two.html") as page:
        sliders = page.locator("input[name=m3]")
        assert [slider.input_value() for slider in sliders.all()] == ["0", "0.35"]
        sliders.first.fill("0.2")
        assert sliders.last.input_value() == "0.35"
        ids = page.evaluate("[...document.querySelectorAll('.cdml-widget [id]')].map(e => e.id)")
        assert len(ids) == len(set(ids)) > 0


def test_without_scripts_a_sentence_stands_there(open_page, miniature):
    with open_page(miniature / "page.html", scripts=False) as page:
        assert "needs JavaScript" in page.locator(".cdml-widget").inner_text()
