import numpy as np
import pytest

from cdmllab import plots
from cdmllab.plots import style


def test_lines_leave_jumps_open_and_have_the_colour_of_their_loss():
    _, (ax,) = plots.figure()
    drawn = [
        plots.Line("a", "cdml", [0.0, 0.1, 1.0, 1.1]),
        plots.Line("b", "arcface", [0.0, 0.0, 0.0, 0.0], "--"),
    ]
    plots.lines(ax, [0, 1, 2, 3], drawn, xlabel="x", ylabel="y", open_at=0.5)
    first, second = ax.lines
    assert np.isnan(first.get_ydata()).tolist() == [False, False, True, False, False]
    assert not np.isnan(second.get_ydata()).any()
    assert [line.get_color() for line in ax.lines] == [
        style.COLOURS["cdml"],
        style.COLOURS["arcface"],
    ]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert ax.get_xlim() == (0, 3)


def test_legend_can_be_above_the_lines():
    _, (ax,) = plots.figure()
    plots.lines(ax, [0, 1], [plots.Line("a", "cdml", [0, 1])], xlabel="", ylabel="", legend="above")
    assert ax.get_legend().get_bbox_to_anchor().transformed(
        ax.transAxes.inverted()
    ).y0 == pytest.approx(1.0)


def test_degrees_axis_ends_at_stop():
    _, (ax,) = plots.figure()
    plots.degrees_axis(ax, stop=120, step=40)
    assert ax.get_xticks().tolist() == [0, 40, 80, 120]


def test_pull_arrows_point_to_the_class_centre_unless_pushed_away():
    _, (ax,) = plots.figure()
    plots.pull_arrows(
        ax, [np.pi / 2, np.pi / 2, np.pi / 2], [1.0, -0.5, 0.0], loss="arcface", longest=1.0
    )
    arrows = [text for text in ax.texts if text.get_text() == "" and text.arrow_patch is not None]
    ends = [np.subtract(arrow.xy, (1.0, 0.0)) for arrow in arrows]
    assert np.allclose(ends, [[0.0, 0.2], [0.0, -0.1]], atol=1e-12)
    assert [text.get_text() for text in ax.texts].count("90°") == 3


@pytest.mark.parametrize(
    ("kind", "pivot", "target", "negative", "e"),
    [("similarity", 0.5, 60, 90, 0.0), ("gap", 0.0, 0, 90, 0.5), ("angle_gap", 0.0, 0, 90, 1.0)],
)
def test_easiness_map_has_the_scores_at_their_angles(kind, pivot, target, negative, e):
    _, (ax,) = plots.figure()
    image = plots.easiness_map(ax, kind, pivot=pivot, title=kind)
    assert np.isclose(image.get_array()[negative, target], e, atol=1e-6)
    plots.colour_bar(ax, image)


def test_sample_paths_draw_some_of_each_group_and_its_median():
    _, (ax,) = plots.figure()
    values = np.arange(40.0).reshape(4, 10)
    groups = {"right": [0, 1, 2, 3, 4, 5, 6], "wrong": [7, 8, 9]}
    plots.sample_paths(ax, range(1, 5), values, groups, per_group=3, ylabel="margin (rad)")
    medians = {
        line.get_label(): line.get_ydata()
        for line in ax.lines
        if not line.get_label().startswith("_")
    }
    assert medians.keys() == {"right (7)", "wrong (3)"}
    assert medians["wrong (3)"].tolist() == [8, 18, 28, 38]
    assert sum(line.get_linewidth() < 1 for line in ax.lines) == 6
