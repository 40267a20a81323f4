import numpy as np
import pytest

from cdmllab import plots
from cdmllab.plots.sphere import view


def test_cap_in_front_is_a_circle_of_its_radius():
    _, (ax,) = plots.figure(1)
    centre = view(20.0, 30.0)[2]  # towards the reader
    plots.caps(ax, [centre], [30.0], (20.0, 30.0))
    x, y = ax.lines[0].get_data()
    assert np.hypot(x, y) == pytest.approx(np.sin(np.radians(30.0)))


def test_cap_behind_the_globe_is_not_drawn():
    _, (ax,) = plots.figure(1)
    plots.caps(ax, [-view(20.0, 30.0)[2]], [30.0], (20.0, 30.0))
    assert np.isnan(ax.lines[0].get_xdata()).all()


def test_line_runs_through_the_mean_of_the_seeds():
    _, (ax,) = plots.figure(1)
    plots.over_margin(ax, [0.0, 0.5], [[10.0, 20.0], [4.0, 8.0]], title="spread", bound_deg=77.9)
    dots, line, bound = ax.lines
    assert dots.get_ydata().tolist() == [10.0, 20.0, 4.0, 8.0]
    assert line.get_ydata().tolist() == [15.0, 6.0]
    assert set(bound.get_ydata()) == {77.9}
