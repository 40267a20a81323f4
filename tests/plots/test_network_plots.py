import numpy as np
import pytest

from cdmllab import plots
from cdmllab.plots import networks


def test_family_follows_from_the_name():
    assert [networks.family(n) for n in ("r18", "r100_lite", "lightweight")] == [
        "full",
        "lite",
        "lightweight",
    ]


def test_shares_of_a_row_add_up_to_one():
    _, (ax,) = plots.figure()
    plots.shares(ax, {"a": [1, 3], "b": [5, 5]}, ["x", "y"])
    widths = np.array([bar.get_width() for bar in ax.patches]).reshape(2, 2)
    np.testing.assert_allclose(widths, [[25, 75], [50, 50]])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in ax.texts] == ["25", "75", "50", "50"]


def test_costs_join_a_family_and_name_every_network():
    _, (ax,) = plots.figure()
    plots.costs(
        ax, {"r18": (24, 2.6), "r34": (34, 4.5), "r18_lite": (9, 0.7), "lightweight": (5, 0.1)}
    )
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 1, 1]
    assert {text.get_text() for text in ax.texts} == {"r18", "r34", "r18_lite", "lightweight"}
    assert "0.3" in [tick.get_text() for tick in ax.get_yticklabels()]


def test_receptive_fields_are_drawn_against_the_image():
    _, (ax,) = plots.figure()
    plots.receptive_fields(ax, {"r18": [3, 15, 39]}, ["stem", "1", "2"], size=112)
    assert list(ax.lines[0].get_ydata()) == [3, 15, 39]
    assert set(ax.lines[1].get_ydata()) == {112}


def test_latencies_skip_missing_measurements():
    _, (ax,) = plots.figure()
    plots.latencies(ax, {"eager": {"r18": 1.0, "r50": 2.2}, "int8": {"r50": 1.1}})
    dots = [line for line in ax.lines if line.get_linestyle() == "None"]
    assert [(list(d.get_xdata()), list(d.get_ydata())) for d in dots] == [
        ([1.0, 2.2], [0, 1]),
        ([1.1], [1]),
    ]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["r18", "r50"]


@pytest.mark.parametrize("words", ["3×3, /2", "1×1, /2", "PReLU"])
def test_block_names_its_layers(words):
    _, (ax,) = plots.figure()
    plots.residual_block(ax)
    assert words in [text.get_text() for text in ax.texts]
