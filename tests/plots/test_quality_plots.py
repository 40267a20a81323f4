import numpy as np
import pytest

from cdmllab import plots
from cdmllab.plots import style


def test_discard_curves_start_at_zero_and_mark_references():
    _, (ax,) = plots.figure()
    rate = [0.0, 0.5]
    plots.discard_curves(
        ax,
        rate,
        {"norm": [0.2, 0.1], "random": [0.2, 0.2]},
        {"norm": style.COLOURS["cdml"]},
        ylabel="FNMR",
        plain=["random"],
    )
    norm, random = ax.lines
    assert norm.get_xydata().tolist() == [[0.0, 0.2], [0.5, 0.1]]
    assert norm.get_color() == style.COLOURS["cdml"]
    assert norm.get_marker() != random.get_marker() == ""
    assert (norm.get_linestyle(), random.get_linestyle()) == ("-", "--")
    assert random.get_color() == style.INK
    assert ax.get_ylim()[0] == 0.0
    assert [line.get_label() for line in ax.lines] == ["norm", "random"]


@pytest.mark.parametrize("labelled", [True, False])
def test_factor_correlations_fill_the_dots_whose_interval_excludes_zero(labelled):
    _, (ax,) = plots.figure()
    values = {"colour_cast": (0.1, -0.1, 0.3), "yaw": (-0.3, -0.4, -0.2), "age": (0.3, 0.2, 0.4)}
    plots.factor_correlations(ax, list(values), values, title="norm", labelled=labelled)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == (["colour cast", "yaw", "age"] if labelled else ["", "", ""])
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [dot.get_fillstyle() for dot in dots] == ["none", "full", "full"]
    np.testing.assert_allclose([float(dot.get_xdata()[0]) for dot in dots], [0.1, -0.3, 0.3])
    assert ax.get_ylim() == (2.5, -0.5)
    assert ax.get_title(loc="left") == "norm"
