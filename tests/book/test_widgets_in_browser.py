"""The static widgets, operated by mouse, keyboard and finger, against the package's values."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.book.contrasts import contrast, hexadecimal
from tests.book.driving import HANDLES, changed, choose, drag, readout, swipe, twin, widget
from tests.book.widget_checks import CHECKS

from cdmllab import margins
from cdmllab.book import widgets
from cdmllab.book.widgets import TargetLogit
from cdmllab.book.widgets.target_logit import OPTIONS

each_widget = pytest.mark.parametrize("name", widgets.names())


@pytest.fixture(params=[*widgets.names(), pytest.param("site", marks=pytest.mark.book)])
def places(request: pytest.FixtureRequest) -> tuple[Path, tuple[str, ...]]:
    """A built page and the widgets in it: one page for each, and the book's with all of them."""
    if request.param == "site":
        site: Path = request.getfixturevalue("site")
        return site / "widgets.html", widgets.names()
    one_widget = request.getfixturevalue("one_widget")
    return one_widget(request.param), (request.param,)


@pytest.fixture
def one_widget(miniature: Path) -> Callable[[str], Path]:
    """The page of a single widget, which opens several times as fast as that of all."""
    return lambda name: miniature / f"widget_{name}.html"


@pytest.fixture
def all_widgets(miniature: Path) -> Path:
    return miniature / "widgets.html"


def test_every_widget_has_a_check_and_a_handle():
    assert CHECKS.keys() == HANDLES.keys() == set(widgets.names())


def test_widget_starts_with_the_state_of_the_package(open_page, places):
    page_path, names = places
    with open_page(page_path) as page:
        for name in names:
            CHECKS[name](page)


def test_mouse_moves_the_widget(open_page, places):
    page_path, names = places
    with open_page(page_path) as page:
        for name in names:
            css, values = HANDLES[name]
            before = twin(page, name)
            drag(page, widget(page, name).locator(css), 90)
            assert values <= changed(before, twin(page, name))
            CHECKS[name](page)
            page.mouse.move(5, 5)  # the button is up
            after = twin(page, name)
            page.mouse.move(200, 200)
            assert changed(after, twin(page, name)) == set()


def test_finger_moves_the_widget(open_page, places):
    page_path, names = places
    with open_page(page_path, width=390, height=844, touch=True) as page:
        for name in names:
            css, values = HANDLES[name]
            before = twin(page, name)
            swipe(page, widget(page, name).locator(css), 64)
            assert values <= changed(before, twin(page, name))
            CHECKS[name](page)


@each_widget
def test_finger_that_scrolls_the_page_moves_nothing(open_page, all_widgets, name):
    with open_page(all_widgets, width=390, height=844, touch=True) as page:
        before = twin(page, name)
        touched = (
            widget(page, name)
            .locator("svg[role=img], .fl-live canvas, input[type=range]:visible")
            .all()
        )
        assert len(touched) >= 3
        for place in touched:
            place.evaluate("e => e.scrollIntoView({ block: 'center', behavior: 'instant' })")
            top = page.evaluate("scrollY")
            swipe(page, place, 12, 160 if top > 300 else -160, share=0.8)
            page.wait_for_function("top => Math.abs(scrollY - top) > 40", arg=top)
            assert changed(before, twin(page, name)) == set()


@pytest.mark.parametrize(
    ("name", "css", "value"),
    [
        ("target_logit", ".tl-plot svg", "theta_deg"),
        ("threshold", "input[name=threshold]", "threshold"),
    ],
)
def test_tap_moves_the_widget(open_page, one_widget, name, css, value):
    with open_page(one_widget(name), width=390, height=844, touch=True) as page:
        before = twin(page, name)
        place = widget(page, name).locator(css)
        place.scroll_into_view_if_needed()
        box = place.bounding_box()
        page.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"])
        assert changed(before, twin(page, name)) == {value}
        CHECKS[name](page)


@each_widget
def test_mouse_moves_every_slider(open_page, one_widget, name):
    with open_page(one_widget(name)) as page:
        sliders = widget(page, name).locator("input[type=range]:visible")
        assert sliders.count() >= 1
        for slider in sliders.all():
            before = twin(page, name)
            slider.scroll_into_view_if_needed()
            box = slider.bounding_box()
            share = (
                0.31
                if float(slider.input_value()) > float(slider.get_attribute("max")) / 2
                else 0.77
            )
            page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
            assert changed(before, twin(page, name)), slider.get_attribute("name")
            CHECKS[name](page)


def test_keyboard_moves_every_control(open_page, places):
    page_path, names = places
    with open_page(page_path) as page:
        for name in names:
            place = widget(page, name)
            moved = 0
            for control in place.locator("input:visible, select:visible, .cdw-chip input").all():
                if not control.locator("xpath=ancestor::*[@hidden]").count():
                    before, kind = twin(page, name), control.get_attribute("type") or "select"
                    control.focus()
                    if kind == "radio" and control.is_checked():
                        continue  # its neighbour moves the choice
                    page.keyboard.press("Space" if kind in ("radio", "checkbox") else "ArrowDown")
                    if kind == "range" and not changed(before, twin(page, name)):
                        page.keyboard.press("ArrowUp")  # it stood at its end
                    assert changed(before, twin(page, name)), control.get_attribute("name")
                    CHECKS[name](page)
                    moved += 1
            assert moved >= 2


@each_widget
def test_widget_describes_itself_to_a_screen_reader(open_page, one_widget, name):
    with open_page(one_widget(name)) as page:
        place = widget(page, name)
        assert place.locator(".cdw").get_attribute("aria-label")
        for control in place.locator("input, select").all():
            assert control.evaluate("e => e.labels.length") == 1
        images = place.locator("[role=img]")
        for image in images.all():
            assert image.evaluate(
                "e => e.getAttribute('aria-label') || e.querySelector('title').textContent"
            )
        image = place.locator("svg[role=img]").first
        before = image.locator("desc").text_content()
        drag(page, place.locator(HANDLES[name][0]), 60)
        described = image.locator("desc").text_content()
        assert described != before
        spoken = place.locator("[aria-live=polite]").element_handle()
        page.wait_for_function(
            "([node, text]) => node.textContent === text", arg=[spoken, described]
        )


def test_screen_reader_is_silent_before_something_moves(open_page, all_widgets):
    with open_page(all_widgets) as page:
        for name in widgets.names():
            widget(page, name)
        spoken = page.locator(".cdml-widget").locator(
            "output, [role=status], [role=alert], [aria-live]"
        )
        for width in (1400, 700):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(700)  # longer than the hand rests
            assert spoken.all_text_contents() == [""] * len(widgets.names())


def test_controls_keep_their_keys_and_leave_the_others(open_page, one_widget):
    with open_page(one_widget("target_logit")) as page:
        place = widget(page, "target_logit")
        choose(page, "target_logit", "loss", "Combined")
        page.evaluate(
            "window.heard = []; document.addEventListener('keydown', (event) => "
            "heard.push(event.key))"
        )
        for css, kept, left in (
            (
                "input[name=m2]",
                ["ArrowLeft", "Home", "PageUp"],
                ["Shift+Enter", "Control+s", "Escape", "/"],
            ),
            ("select[name=loss]", ["ArrowUp", "a"], ["Control+s"]),
            (".tl-chips button >> nth=0", ["Enter", "Space"], ["Shift+Enter", "Control+s", "b"]),
        ):
            place.locator(css).focus()
            for key in kept:
                page.keyboard.press(key)
            assert page.evaluate("heard.splice(0)") == [], css
            for key in left:
                page.keyboard.press(key)
            heard = [
                key for key in page.evaluate("heard.splice(0)") if key not in ("Shift", "Control")
            ]
            assert heard == [key.split("+")[-1] for key in left], css
            choose(page, "target_logit", "loss", "Combined")
        page.keyboard.press("Control+k")
        page.wait_for_function("document.activeElement.matches('input[name=q]')")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marks_have_contrast_with_the_widget(open_page, all_widgets, theme):
    marks = [("threshold", f".th-{kind}", "stroke") for kind in ("genuine", "impostor")]
    marks += [("threshold", f".th-wrong-{kind}", "fill") for kind in ("genuine", "impostor")]
    marks += [("hypersphere", ".hs-point", "stroke"), ("hypersphere", ".hs-rim", "fill")]
    marks += [
        ("power", f".pw-share[data-verdict={verdict}]", "fill")
        for verdict in ("different", "equivalent", "inconclusive")
    ]
    with open_page(all_widgets, theme=theme) as page:
        for name, css, property_ in marks:
            result = widget(page, name).locator(css)
            assert (
                result.evaluate_all(
                    "all => Math.max(...all.map((e) => getComputedStyle(e).opacity))"
                )
                == 1
            ), css
            paper = (
                widget(page, name)
                .locator(".cdw")
                .evaluate("e => getComputedStyle(e).backgroundColor")
            )
            colour = result.first.evaluate("(e, what) => getComputedStyle(e)[what]", property_)
            assert contrast(hexadecimal(colour), hexadecimal(paper)) >= 3, css
        assert (
            widget(page, "threshold")
            .get_by_text("errors at this threshold", exact=True)
            .is_visible()
        )


@pytest.mark.parametrize("width", [390, 1400])
def test_widgets_fit_the_screen(open_page, all_widgets, width):
    with open_page(all_widgets, width=width) as page:
        for name in widgets.names():
            widget(page, name)
        inside = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.className)"
        assert page.locator(".cdw, .cdw-readout > div, .cdw-slider").evaluate_all(inside) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("loss", OPTIONS)
def test_explorer_equals_python_for_every_loss(open_page, one_widget, loss):
    with open_page(one_widget("target_logit")) as page:
        choose(page, "target_logit", "loss", margins.label(loss))
        chosen, own = twin(page, "target_logit"), TargetLogit(loss=loss)
        assert chosen.loss == loss
        for value in ("beyond_pi", *OPTIONS[loss]):  # the page knows the defaults of the loss
            assert getattr(chosen, value) == getattr(own, value), value
        for shows in ("logit", "loss", "gradient"):
            choose(page, "target_logit", "shows", shows)
            CHECKS["target_logit"](page)
        for share in (0.4, 0.0):
            for slider in widget(page, "target_logit").locator("input[type=range]:visible").all():
                low, high, step = (
                    float(slider.get_attribute(name)) for name in ("min", "max", "step")
                )
                slider.fill(f"{low + step * round(share * (high - low) / step):.6g}")
            CHECKS["target_logit"](page)


def test_explorer_offers_every_loss_with_a_target_curve():
    """Excluded losses have logits or losses that are not a function of the target's angle alone."""
    for name in set(margins.names()) - set(OPTIONS):
        loss = margins.create(name, num_identities=10, embedding_dim=4)
        assert (
            not loss.uses_cosine
            or loss.reduction != "logsumexp"
            or loss.changes_negatives
            or loss.offsets_classes
        ), name


@pytest.mark.parametrize("loss", ["mv_softmax", "curricularface", "kappaface", "cdml", "ldam"])
def test_two_losses_equal_python_away_from_the_defaults(open_page, one_widget, loss):
    with open_page(one_widget("two_losses")) as page:
        choose(page, "two_losses", "first", margins.label(loss))
        assert twin(page, "two_losses").first == loss
        CHECKS["two_losses"](page)
        for name, value in (("length", "25"), ("negative_deg", "50"), ("s", "20")):
            widget(page, "two_losses").locator(f"input[name={name}]").fill(value)
        CHECKS["two_losses"](page)


@pytest.mark.parametrize("loss", ["Combined", "CDML", "AdaFace"])
def test_explorer_equals_python_past_pi(open_page, one_widget, loss):
    with open_page(one_widget("target_logit")) as page:
        choose(page, "target_logit", "loss", loss)
        for beyond_pi in ("linear", "clip", "none"):
            choose(page, "target_logit", "beyond_pi", beyond_pi)
            for margin in ("0.2", "0.9"):
                widget(page, "target_logit").locator("input[name=m2]").fill(margin)
                CHECKS["target_logit"](page)


def test_explorer_shows_only_the_values_of_its_loss(open_page, one_widget):
    with open_page(one_widget("target_logit")) as page:
        choose(page, "target_logit", "loss", "CosFace")
        sliders = widget(page, "target_logit").locator("input[type=range]:visible")
        assert {slider.get_attribute("name") for slider in sliders.all()} == {
            "theta_deg",
            "m3",
            "s",
            "negative_deg",
        }


@pytest.mark.parametrize(("name", "margin"), [("CM1", (1, 0.3, 0.2)), ("CM2", (0.9, 0.4, 0.15))])
def test_paper_settings_set_the_combined_margin(open_page, one_widget, name, margin):
    with open_page(one_widget("target_logit")) as page:
        choose(page, "target_logit", "loss", "Combined")
        button = page.get_by_role("button", name=name, exact=True)
        button.click()
        now = twin(page, "target_logit")
        assert (now.m1, now.m2, now.m3) == margin
        assert button.get_attribute("aria-pressed") == "true"
        CHECKS["target_logit"](page)


@pytest.mark.parametrize(
    "loss", ["Softmax", "NormFace", "SphereFace", "CosFace", "ArcFace", "CDML"]
)
def test_boundaries_equal_python_for_every_loss(open_page, one_widget, loss):
    with open_page(one_widget("decision_boundary")) as page:
        choose(page, "decision_boundary", "loss", loss)
        sliders = widget(page, "decision_boundary").locator("input[type=range]:visible")
        for share in (0.2, 0.9):
            for slider in sliders.all():
                low, high, step = (
                    float(slider.get_attribute(name)) for name in ("min", "max", "step")
                )
                slider.fill(f"{low + step * round(share * (high - low) / step):.6g}")
            CHECKS["decision_boundary"](page)


def test_margin_too_large_satisfies_nowhere(open_page, one_widget):
    with open_page(one_widget("decision_boundary")) as page:
        place = widget(page, "decision_boundary")
        place.locator("input[name=separation_deg]").fill("20")
        place.locator("input[name=m2]").fill("0.9")
        CHECKS["decision_boundary"](page)
        assert readout(page, "decision_boundary")["boundary1"] == "nowhere"


@pytest.mark.parametrize("easiness", ["similarity", "gap", "angle gap"])
def test_margins_at_work_equal_python(open_page, one_widget, easiness):
    with open_page(one_widget("cdml_at_work")) as page:
        choose(page, "cdml_at_work", "easiness", easiness)
        choose(page, "cdml_at_work", "schedule", "cosine")
        widget(page, "cdml_at_work").locator("input[name=progress]").fill("0.6")
        for shape in ("step", "linear"):
            for favour in ("easy", "hard"):
                choose(page, "cdml_at_work", "shape", shape)
                choose(page, "cdml_at_work", "favour", favour)
                CHECKS["cdml_at_work"](page)
        widget(page, "cdml_at_work").locator("input[name=match_mean]").check()
        CHECKS["cdml_at_work"](page)
        choose(page, "cdml_at_work", "identities", "2")
        CHECKS["cdml_at_work"](page)


def test_training_plays_to_its_end(open_page, one_widget):
    with open_page(one_widget("hypersphere")) as page:
        place = widget(page, "hypersphere")
        place.get_by_role("button", name="Play training").click()
        assert twin(page, "hypersphere").frame == 0  # it stood at the end, and begins anew
        place.get_by_role("button", name="Stop").wait_for()
        place.get_by_role("button", name="Play training").wait_for(timeout=10_000)
        assert twin(page, "hypersphere").frame == 2
        CHECKS["hypersphere"](page)


@pytest.mark.parametrize(("motion", "at_once"), [("reduce", True), ("no-preference", False)])
def test_points_glide_unless_reduced_motion_is_preferred(open_page, one_widget, motion, at_once):
    with open_page(one_widget("hypersphere"), motion=motion) as page:
        arrived = widget(page, "hypersphere").evaluate("""e => {
            const slider = e.querySelector("input[name=frame]");
            slider.value = 0;
            slider.dispatchEvent(new Event("input"));
            return e.querySelector(".hs-plot svg").dataset.frame === "0";
        }""")
        assert arrived == at_once
        CHECKS["hypersphere"](page)


def test_sphere_is_tilted_by_dragging_up(open_page, one_widget):
    with open_page(one_widget("hypersphere")) as page:
        before = twin(page, "hypersphere")
        drag(page, widget(page, "hypersphere").locator(".hs-plot svg"), 0, -50)
        after = twin(page, "hypersphere")
        assert after.elevation_deg < before.elevation_deg
        assert after.azimuth_deg == before.azimuth_deg
        CHECKS["hypersphere"](page)
        choose(page, "hypersphere", "colour", "margin")
        CHECKS["hypersphere"](page)


def test_roc_on_a_logarithmic_axis(open_page, one_widget):
    with open_page(one_widget("threshold")) as page:
        choose(page, "threshold", "axis", "logarithmic")
        CHECKS["threshold"](page)


def test_every_frame_matches_its_score(open_page, one_widget):
    with open_page(one_widget("face_lab")) as page:
        place = widget(page, "face_lab")
        for name in ("age", "light", "occlusion", "yaw"):
            slider = place.locator(f"input[name={name}]")
            for value in ("0", slider.get_attribute("max"), "1"):
                slider.fill(value)
                CHECKS["face_lab"](page)
            assert twin(page, "face_lab").follows == name


@pytest.mark.parametrize("seeds", [2, 3, 12, 100])
def test_power_equals_python_for_every_setting(open_page, one_widget, seeds):
    with open_page(one_widget("power")) as page:
        place = widget(page, "power")
        place.locator("input[name=seeds]").fill(str(seeds))
        for sd, effect, bound in (("0.01", "0", "0.02"), ("0.3", "0.25", "0.2"), ("1.5", "2", "1")):
            for name, value in (("sd", sd), ("effect", effect), ("bound", bound)):
                place.locator(f"input[name={name}]").fill(value)
            CHECKS["power"](page)
            place.get_by_role("button", name="Draw an experiment").click()
            CHECKS["power"](page)


def test_power_draws_by_keyboard_and_says_the_verdict(open_page, one_widget):
    with open_page(one_widget("power")) as page:
        place = widget(page, "power")
        place.get_by_role("button", name="Draw an experiment").focus()
        for number in (1, 2):
            before = place.locator(".pw-drawn").inner_text()
            page.keyboard.press("Enter")
            now = twin(page, "power")
            assert now.draw == number
            assert place.locator(".pw-drawn").inner_text() != before
            CHECKS["power"](page)
        spoken = place.locator("[aria-live=polite]").element_handle()
        words = place.locator(".pw-drawn").inner_text()
        page.wait_for_function("([e, words]) => e.textContent.endsWith(words)", arg=[spoken, words])


def test_power_examples_set_their_values(open_page, one_widget):
    with open_page(one_widget("power")) as page:
        place = widget(page, "power")
        for preset in twin(page, "power").presets:
            button = place.get_by_role("button", name=preset["label"], exact=True)
            button.click()
            state = twin(page, "power").state()
            assert preset.items() <= {**state, "label": preset["label"]}.items()
            assert place.locator("button[aria-pressed=true]").all_inner_texts() == [preset["label"]]
            CHECKS["power"](page)


def test_power_keeps_its_axis_until_the_drag_ends(open_page, one_widget):
    with open_page(one_widget("power")) as page:
        place = widget(page, "power")
        handle = place.locator(".pw-handle").first
        end = "+document.querySelector('.pw-power').dataset.x1"
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        before = page.evaluate(end)
        page.mouse.move(box["x"] + 8, box["y"] + 8)
        page.mouse.down()
        page.mouse.move(box["x"] + 600, box["y"] + 8, steps=4)
        assert page.evaluate(end) == before == twin(page, "power").effect
        page.mouse.up()
        assert page.evaluate(end) > before
        CHECKS["power"](page)


def test_widgets_of_a_page_have_separate_states(open_page, miniature):
    with open_page(miniature / "two.html") as page:
        sliders = page.locator("input[name=m2]")
        assert [slider.input_value() for slider in sliders.all()] == ["0.5", "0.3"]
        sliders.first.fill("0.2")
        assert sliders.last.input_value() == "0.3"


def test_ids_of_a_page_are_different(open_page, all_widgets):
    with open_page(all_widgets) as page:
        for name in widgets.names():
            widget(page, name)
        ids = page.evaluate("[...document.querySelectorAll('.cdml-widget [id]')].map(e => e.id)")
        assert len(ids) == len(set(ids)) > 50


def test_without_scripts_the_fallback_text_is_shown(open_page, all_widgets):
    with open_page(all_widgets, scripts=False) as page:
        texts = page.locator(".cdml-widget").all_inner_texts()
        assert len(texts) == len(widgets.names())
        assert all("needs JavaScript" in text for text in texts)


def test_widget_glued_in_another_page_moves(open_page, miniature):
    with open_page(miniature / "glued.html") as page:
        before = twin(page, "threshold")
        drag(page, widget(page, "threshold").locator(".th-handle"), -40)
        assert changed(before, twin(page, "threshold")) == {"threshold"}
        CHECKS["threshold"](page)
