"""The same source as in JupyterLab: imported as a module, with a model like anywidget's."""

import numpy as np
import pytest
from playwright.sync_api import Page
from tests.book.curves import drawn_curve
from tests.book.examples import example

from cdmllab.book import widgets
from cdmllab.book.widgets import TargetLogit, Widget

START = """async ([esm, state]) => {
  const listeners = [];
  const heard = (event) => listeners
    .filter(([name]) => name === event).forEach(([, call]) => call());
  window.saved = [];
  window.listeners = listeners;
  window.model = {
    get: (name) => state[name],
    set(name, value) {
      if (state[name] !== value) { state[name] = value; heard(`change:${name}`); }
    },
    save_changes() { window.saved.push({ ...state }); },
    on: (event, call) => listeners.push([event, call]),
    off(event, call) {
      const at = listeners.findIndex((entry) => entry[0] === event && entry[1] === call);
      if (at >= 0) listeners.splice(at, 1);
    },
  };
  const el = document.body.appendChild(document.createElement("div"));
  el.className = "cdml-widget";
  const module = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
  window.stop = await module.default.render({ model: window.model, el });
}"""


def start(page: Page, widget: Widget) -> None:
    page.evaluate(START, [widget._esm, widget.state()])
    page.wait_for_selector(".cdw svg path", state="attached")


def test_slider_writes_to_the_model_and_saves(open_page):
    with open_page("about:blank") as page:
        start(page, TargetLogit(m2=0.5))
        page.locator("input[name=m2]").focus()
        page.keyboard.press("ArrowLeft")
        assert [state["m2"] for state in page.evaluate("saved")] == pytest.approx([0.49])


def test_change_in_the_kernel_redraws(open_page):
    with open_page("about:blank") as page:
        start(page, TargetLogit(m2=0.5))
        page.evaluate("model.set('m2', 0.123)")
        angles, values = drawn_curve(page.locator(".tl-curve"))
        inside = np.abs(angles - np.rad2deg(np.pi - 0.123)) > 1e-6
        expected = TargetLogit(m2=0.123).curves(angles[inside]).logit
        np.testing.assert_allclose(values[inside], expected, rtol=0, atol=1e-5)
        assert page.locator(".cdw-value").all_inner_texts().count("0.12") == 1
        assert page.evaluate("saved") == []


@pytest.mark.parametrize("name", widgets.names())
def test_widget_is_drawn_and_stops_listening_when_removed(open_page, name):
    with open_page("about:blank") as page:
        start(page, example(name))
        assert page.locator(".cdw dd").all_inner_texts()
        heard = page.evaluate("listeners.map(([event]) => event.replace('change:', ''))")
        assert heard
        assert set(heard) <= set(example(name).state_traits())
        page.evaluate("stop()")
        assert page.evaluate("listeners.length") == 0
