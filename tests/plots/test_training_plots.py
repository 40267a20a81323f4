import numpy as np
import pytest

from cdmllab import plots
from cdmllab.plots import training


def test_curves_have_their_band_and_colour():
    _, (ax,) = plots.figure()
    step = np.arange(3)
    curves = {
        "arcface": (step, [0.1, 0.5, 0.9], [0.0, 0.1, 0.1]),
        "easy": (step, [1, 2, 3], [0, 0, 0]),
    }
    plots.training_curves(ax, curves, ylabel="accuracy (%)", scale=100.0)
    assert [line.get_color() for line in ax.lines] == [
        plots.colour("arcface"),
        training.GROUPS["easy"],
    ]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [10, 50, 90])
    assert len(ax.collections) == 1  # no band without a spread
    assert ax.get_legend_handles_labels()[1] == ["ArcFace", "easy"]


def test_differences_are_filled_where_the_family_has_them_clear():
    _, (ax,) = plots.figure()
    rows = {"a": (0.01, 0.005, 0.015), "b": (0.0, -0.01, 0.01), "c": (-0.02, -0.03, -0.01)}
    plots.differences(
        ax, rows, clear=["c"]
    )  # the interval of a also excludes zero, but a is one of three comparisons
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [dot.get_fillstyle() for dot in dots] == ["none", "none", "full"]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [1.0, 0.0, -2.0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]
    assert ax.get_ylim() == (2.5, -0.5)


def test_differences_show_the_band_and_further_values_below():
    _, (ax,) = plots.figure()
    plots.differences(
        ax,
        {"a": (0.01, 0.0, 0.02)},
        clear=["a"],
        band=0.002,
        references={"published": [0.005, -0.001]},
    )
    (band,) = ax.patches
    assert band.get_x() == pytest.approx(-0.2)
    assert band.get_width() == pytest.approx(0.4)
    (ticks,) = [line for line in ax.lines if line.get_marker() == "|"]
    np.testing.assert_allclose(ticks.get_xdata(), [0.5, -0.1])
    assert list(ticks.get_ydata()) == [1, 1]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "published"]


def test_paired_seeds_join_the_values_of_a_seed_and_mark_means():
    _, (ax,) = plots.figure()
    plots.paired_seeds(
        ax, ["arcface", "cdml"], [[0.90, 0.92], [0.95, 0.91]], labels=["ArcFace", "CDML"]
    )
    seeds, rest = ax.lines[:2], ax.lines[2:]
    np.testing.assert_allclose([line.get_ydata() for line in seeds], [[90, 95], [92, 91]])
    np.testing.assert_allclose([line.get_ydata()[0] for line in rest[1::2]], [91.0, 93.0])
    assert [line.get_color() for line in rest[::2]] == [
        plots.colour("arcface"),
        plots.colour("cdml"),
    ]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["ArcFace", "CDML"]


def test_sample_margins_skip_steps_without_a_value():
    _, (ax,) = plots.figure()
    plots.sample_margins(
        ax, [1, 2, 3], [0.3, 0.3, np.nan], [0.4, 0.4, np.nan], [0.5, 0.5, np.nan], "cdml"
    )
    assert list(ax.lines[0].get_xdata()) == [1.0, 2.0]


def test_accuracies_show_every_seed_and_the_mean():
    _, (ax,) = plots.figure()
    plots.accuracy_bars(ax, ["arcface", "cdml"], [[0.9, 0.92], [0.91, 0.93]])
    dots, means = ax.lines[::2], ax.lines[1::2]
    np.testing.assert_allclose(dots[0].get_ydata(), [90, 92])
    np.testing.assert_allclose(means[1].get_ydata(), [92, 92])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["ArcFace", "CDML"]


def test_wrong_labels_are_highlighted():
    _, axes = plots.figure(2)
    easiness, difficulty, wrong = [0.9, 0.5, -0.2], [0.1, 0.2, 0.3], [False, False, True]
    plots.guess_against_truth(axes[0], easiness, difficulty, wrong)
    assert [len(line.get_xdata()) for line in axes[0].lines] == [2, 1]
    plots.by_label(axes[1], easiness, wrong, bins=4)
    assert axes[1].get_legend_handles_labels()[1] == ["correct label", "wrong label"]
