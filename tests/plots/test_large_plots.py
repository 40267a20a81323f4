import pytest

from cdmllab import plots
from cdmllab.plots.large import short


def test_costs_are_drawn_against_identities_with_measurements():
    _, (ax,) = plots.figure()
    plots.against_identities(
        ax,
        [1e4, 1e6],
        {"blocks": [1.0, 100.0]},
        ylabel="GiB",
        limits={"80 GiB": 80.0},
        dots={"blocks": ([1e4], [1.1]), "dense": ([1e4], [9.0])},
    )
    line, own, limit_or_dense, last = ax.lines
    assert list(line.get_ydata()) == [1.0, 100.0]
    assert own.get_color() == line.get_color()
    assert {limit_or_dense.get_marker(), last.get_marker()} == {"s", "None"}
    assert ax.get_legend_handles_labels()[1] == ["blocks", "dense"]
    assert [t.get_text() for t in ax.texts] == ["80 GiB"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_measured_heads_are_filled_where_they_are_ours():
    _, (ax,) = plots.figure()
    plots.measured_heads(
        ax,
        [
            plots.MeasuredHead("ours", 1.7, 1.5, True),
            plots.MeasuredHead("textbook", 6.4, 6.0, False),
        ],
    )
    ours, theirs = ax.lines[:2]
    assert (ours.get_fillstyle(), theirs.get_fillstyle()) == ("full", "none")
    assert (list(theirs.get_xdata()), list(theirs.get_ydata())) == ([6.4], [6.0])


@pytest.mark.parametrize(
    ("number", "expected"),
    [(950, "950"), (10_000, "10k"), (2.5e6, "2.5M"), (1e8, "100M"), (3e9, "3G")],
)
def test_short_numbers(number, expected):
    assert short(number) == expected
