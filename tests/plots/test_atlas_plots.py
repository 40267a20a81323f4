"""Figures of the atlas: panels by family, labels that do not overlap, a timeline and a map."""

from itertools import pairwise

import numpy as np
import pytest

from cdmllab import plots
from cdmllab.analysis import margin_axes
from cdmllab.analysis.atlas import Entry, Likeness
from cdmllab.analysis.margin_axes import Curve
from cdmllab.plots.atlas import stacked
from cdmllab.plots.labelled import _spread

X = np.linspace(0.0, 180.0, 5)
FAMILIES = {"arcface": "nothing", "magface": "norm", "cosface": "nothing", "adaface": "norm"}


def test_figure_has_rows():
    figure, axes = plots.figure(2, rows=3)
    assert len(axes) == len(figure.axes) == 6


def test_each_family_begins_a_row_of_panels():
    assert plots.family_rows(FAMILIES, 4) == 2
    assert plots.family_rows({f"a{k}": "gap" for k in range(9)}, 4) == 3
    _, axes = plots.figure(4, rows=2)
    curves = {name: np.cos(X * k) for k, name in enumerate(FAMILIES)}
    plots.small_multiples(axes, X, curves, FAMILIES, reference=np.zeros(5), ticks=(0, 90))
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles == ["ArcFace", "CosFace", "", "", "MagFace", "AdaFace", "", ""]
    np.testing.assert_array_equal(axes[4].lines[1].get_ydata(), curves["magface"])
    assert axes[4].lines[1].get_color() == plots.FAMILY_COLOURS["norm"]
    assert axes[4].get_ylabel() == "the norm"
    assert {ax.get_ylim() for ax in axes if ax.get_title(loc="left")} == {axes[0].get_ylim()}
    assert [ax.axison for ax in axes] == [True, True, False, False] * 2


def test_wrong_number_of_panels_is_refused():
    _, axes = plots.figure(3)
    with pytest.raises(ValueError, match="the panels need 8 axes, but there are 3"):
        plots.small_multiples(axes, X, dict.fromkeys(FAMILIES, X), FAMILIES)


def test_lines_that_coincide_share_a_label():
    _, (ax,) = plots.figure(1)
    plots.labelled_lines(ax, X, {"arcface": X, "cosface": X + 0.0, "magface": 2.0 * X})
    assert [text.get_text() for text in ax.texts] == ["ArcFace, CosFace", "MagFace"]
    assert len(ax.lines) == 2


def test_line_that_ends_early_is_labelled_at_its_end():
    _, (ax,) = plots.figure(1)
    plots.labelled_lines(ax, X, {"cdml": np.array([1.0, 2.0, 3.0, np.nan, np.nan])}, log=True)
    assert ax.texts[0].xy == (X[2], 3.0)
    assert ax.get_xscale() == "log"


@pytest.mark.parametrize("wanted", [[0.5, 0.5, 0.5], [0.9, 0.1, 0.95], [1.0, 1.0, 0.2]])
def test_labels_keep_their_order_and_do_not_overlap(wanted):
    sizes = [0.1, 0.2, 0.1]
    placed = _spread(wanted, sizes, 1.0)
    order = np.argsort(wanted, kind="stable")
    for lower, upper in pairwise(order):
        gap = placed[upper] - placed[lower]
        assert gap >= (sizes[lower] + sizes[upper]) / 2.0 - 1e-12
    top = order[-1]
    assert placed[top] + sizes[top] / 2.0 <= 1.0 + 1e-12


def test_stacked_panels_draw_no_angle_for_a_target_below_minus_one():
    curve = Curve(X, np.array([0.5, 0.0, -0.5, -1.5, -2.0]), X, X, X, X / 90.0)
    _, axes = plots.figure(1, rows=2)
    stacked(axes, X, {"x2_softmax": curve}, parts=("target", "margin_rad"), xlabel="angle")
    assert np.isnan(axes[1].lines[0].get_ydata()).tolist() == [False, False, False, True, True]
    assert [ax.get_xlabel() for ax in axes] == ["", "angle"]
    assert {"target", "margin_rad"} <= set(margin_axes.Curve._fields)


def test_timeline_writes_every_loss_into_its_column():
    entries = [
        Entry("arcface", "ArcFace", 2018, ("nothing",), "neither", np.nan, np.nan),
        Entry("cosface", "CosFace", 2018, ("nothing",), "neither", np.nan, np.nan),
        Entry("magface", "MagFace", 2021, ("norm",), "easy", 0.6, 0.5),
    ]
    _, (ax,) = plots.figure(1)
    plots.timeline(ax, entries)
    at = {text.get_text(): text.get_position() for text in ax.texts}
    assert at["ArcFace"][0] == at["CosFace"][0] == 0
    assert at["MagFace"][0] == 1
    assert at["ArcFace"][1] < at["CosFace"][1] < at["MagFace"][1] == at["2021"][1]


def test_map_of_likeness_writes_tenths():
    _, (ax,) = plots.figure(1)
    alike = Likeness(("arcface", "cdml"), np.array([[1.0, -0.44], [-0.44, 1.0]]), ())
    plots.likeness_map(ax, alike)
    assert [text.get_text() for text in ax.texts] == ["10", "-4", "-4", "10"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["ArcFace", "CDML"]
    plots.likeness_map(plots.figure(1)[1][0], alike, write=False)
