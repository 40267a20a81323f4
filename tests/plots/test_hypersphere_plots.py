import numpy as np
import pytest

from cdmllab import plots
from cdmllab.analysis import sphere


def test_flat_map_gives_each_identity_a_different_marker():
    _, (ax,) = plots.figure()
    labels = np.repeat(np.arange(25), 2)
    plots.flat_map(ax, np.arange(100.0).reshape(50, 2), labels + 7, title="t")
    looks = {(line.get_color(), line.get_marker()) for line in ax.lines}
    assert len(ax.lines) == len(looks) == 25
    assert len(ax.get_xticks()) == 0


def test_flat_map_without_labels_is_one_kind_of_dot():
    _, (ax,) = plots.figure()
    plots.flat_map(ax, np.ones((4, 2)))
    assert [len(line.get_xdata()) for line in ax.lines] == [4]


def test_neighbour_angles_are_shares_and_the_bound_is_drawn():
    _, (ax,) = plots.figure()
    plots.neighbour_angles(
        ax, {"arcface": [50.0, 40.0, 60.0, 70.0], "random": [30.0]}, bound_deg=90.0
    )
    loss, reference, bound = ax.lines
    assert list(loss.get_xdata()) == [40.0, 50.0, 60.0, 70.0]
    assert list(loss.get_ydata()) == [0.25, 0.5, 0.75, 1.0]
    assert (loss.get_color(), loss.get_linestyle()) == (plots.colour("arcface"), "-")
    assert reference.get_linestyle() == "--"
    assert set(bound.get_xdata()) == {90.0}
    assert [t.get_text() for t in ax.texts] == ["bound 90.0°"]


def test_spectra_rise_to_one_in_the_colour_of_their_loss():
    _, (ax,) = plots.figure()
    plots.spectra(
        ax, {"CDML, strangers": [0.5, 0.3, 0.2], "random": [1 / 3] * 3}, styles={"random": ":"}
    )
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.5, 0.8, 1.0])
    assert ax.lines[0].get_color() == plots.colour("cdml")
    assert ax.lines[1].get_linestyle() == ":"


def test_margins_show_wrong_labels_separately_and_the_medians_without_them():
    _, (ax,) = plots.figure()
    difficulty, margin = np.arange(20.0), np.linspace(0.5, 0.3, 20)
    wrong = np.arange(20) >= 18
    plots.margins_against_difficulty(
        ax, difficulty, np.where(wrong, 0.1, margin), wrong, base_rad=0.35, bins=2
    )
    right, lies, _, median, base = ax.lines
    assert (len(right.get_xdata()), len(lies.get_xdata())) == (18, 2)
    assert list(median.get_xdata()) == [4.0, 13.0]
    assert list(median.get_ydata()) == pytest.approx([margin[4], margin[13]])
    assert set(base.get_ydata()) == {0.35}


def test_histogram_of_angles_includes_chance():
    _, (ax,) = plots.figure()
    plots.angle_histogram(ax, [0.5, 0.0, 0.1], [True, False, False], bins=36, chance_dim=64)
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata(), sphere.chance_density(line.get_xdata(), 64))
