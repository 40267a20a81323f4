import html
import inspect
import json
import re
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest
import traitlets
from tests.book.examples import example

from cdmllab.book import widgets
from cdmllab.book.widgets import TargetLogit, Threshold, Widget, packed, unpacked


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_every_script_of_the_package_is_a_listed_widget():
    files = {path.name for path in resources.files(widgets).iterdir() if path.name.endswith(".js")}
    parts = {f"_{part}.js" for widget in widgets.WIDGETS.values() for part in widget.parts}
    assert files == {f"{name}.js" for name in widgets.names()} | parts | {"_kit.js"}


@pytest.mark.parametrize("name", widgets.names())
def test_source_is_self_contained_and_exports_once(name):
    text = widgets.source(name)
    assert (
        re.findall(
            r"^\s*import\b|\bimport\s*\(|\brequire\s*\(|https?://(?!www\.w3\.org/)", text, re.M
        )
        == []
    )
    assert re.findall(r"^export .*", text, re.M) == ["export default { render };"]


@pytest.mark.parametrize("name", widgets.names())
def test_widget_live_script_is_its_source(name):
    assert example(name)._esm == widgets.source(name)


@pytest.mark.parametrize("name", widgets.names())
def test_widget_describes_itself_in_html(name):
    widget = example(name)
    data, _ = widget._repr_mimebundle_()
    (tag, attributes), *_ = Elements(data["text/html"]).found
    assert (tag, attributes["class"], attributes["data-widget"]) == ("div", "cdml-widget", name)
    assert json.loads(attributes["data-state"]) == widget.state()
    assert html.escape(widget.fallback) in data["text/html"]
    assert data["text/plain"] == repr(widget)


def test_state_is_what_the_widget_declares():
    state = TargetLogit(m2=0.3).state()
    assert state["m2"] == 0.3
    assert state.keys() == set(
        re.findall(r"^    (\w+) = traitlets", inspect.getsource(TargetLogit), re.M)
    )


def test_repr_of_a_widget_with_data_is_short():
    assert len(repr(example("face_lab"))) < 600


def test_state_cannot_leave_its_attribute():
    class Hostile(Widget):
        name = "target_logit"
        fallback = "<b>none</b>"
        text = traitlets.Unicode("\"'></div><script>alert(1)</script>&quot;").tag(sync=True)

    elements = Elements(Hostile().static_html()).found
    assert [tag for tag, _ in elements] == ["div", "p"]
    assert json.loads(elements[0][1]["data-state"]) == {"text": Hostile().text}


@pytest.mark.parametrize("values", [{"m1": 0.1}, {"m2": 1.5}, {"s": 0.0}, {"beyond_pi": "wrap"}])
def test_widget_rejects_a_value_out_of_range(values):
    with pytest.raises(traitlets.TraitError, match=next(iter(values))):
        TargetLogit(**values)


def test_widget_rejects_an_unknown_name():
    with pytest.raises(TypeError, match=r"TargetLogit has no value m4; it has .*m3"):
        TargetLogit(m4=1.0)


def test_widget_with_data_cannot_do_without():
    with pytest.raises(
        TypeError, match=r"Threshold shows results of a run and needs genuine, impostor"
    ):
        Threshold()


@pytest.mark.parametrize("shape", [(0,), (5,), (2, 3, 4)])
def test_packed_numbers_come_back(shape):
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.testing.assert_array_equal(unpacked(packed(values), *shape), values)
