"""What trainings tell: curves with their spread over seeds, and differences with their
intervals.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from cdmllab.margins import label
from cdmllab.plots.style import INK, colour

GROUPS = {"easy": "#2a9d7f", "middling": "#8a8f98", "hard": "#c08a1e", "mislabelled": "#b5485d"}
Curve = tuple[ArrayLike, ArrayLike, ArrayLike]
"""Steps, mean and spread, each of shape (n,)."""


def training_curves(
    ax: Axes,
    curves: Mapping[str, Curve],
    *,
    ylabel: str,
    colours: Mapping[str, str] | None = None,
    scale: float = 1.0,
) -> None:
    """A quantity against the steps of training, a line for each name with a band of one spread.

    Parameters
    ----------
    ax : where to draw
    curves : by the name that gives colour and label
    ylabel : quantity and unit
    colours : by name, in place of the losses' own; names that are missing there keep theirs
    scale : what the values are multiplied by, 100 for per cent
    """
    for name, (step, mean, spread) in curves.items():
        x, y, s = (np.asarray(v, dtype=np.float64) for v in (step, mean, spread))
        shade = (colours or {}).get(name) or GROUPS.get(name) or colour(name)
        ax.plot(x, scale * y, color=shade, label=label(name))
        if np.any(s > 0):
            ax.fill_between(
                x, scale * (y - s), scale * (y + s), color=shade, alpha=0.18, linewidth=0
            )
    ax.set(xlabel="step", ylabel=ylabel)
    ax.margins(x=0.01)


def differences(
    ax: Axes,
    rows: Mapping[str, tuple[float, float, float]],
    *,
    clear: Collection[str],
    unit: str = "points",
    scale: float = 100.0,
) -> None:
    """Differences with their intervals, one row each, the first on top; a line where there is none.

    Parameters
    ----------
    ax : where to draw
    rows : by label the mean, and the low and the high end of its interval
    clear : labels of the rows that are found to differ, for which the dot is full; rows drawn
        together are several comparisons, so an interval without zero is not enough
    unit : of the axis
    scale : what the values are multiplied by
    """
    for at, (name, (mean, low, high)) in enumerate(rows.items()):
        ax.plot(
            [scale * low, scale * high], [at, at], color=INK, linewidth=1.4, solid_capstyle="butt"
        )
        ax.plot(
            scale * mean,
            at,
            "o",
            color=INK,
            markersize=5,
            fillstyle="full" if name in clear else "none",
        )
    ax.axvline(0.0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(f"difference ({unit})")
    ax.grid(visible=False, axis="y")


def sample_margins(
    ax: Axes, step: ArrayLike, low: ArrayLike, middle: ArrayLike, high: ArrayLike, name: str
) -> None:
    """How a quantity is spread over the samples of a batch, step by step: a band from `low` to
    `high` quantile.

    Parameters
    ----------
    ax : where to draw
    step, low, middle, high : shape (n,)
    name : gives colour and label
    """
    x, a, m, b = (np.asarray(v, dtype=np.float64) for v in (step, low, middle, high))
    keep: NDArray[np.bool_] = np.isfinite(m)
    ax.fill_between(x[keep], a[keep], b[keep], color=colour(name), alpha=0.22, linewidth=0)
    ax.plot(x[keep], m[keep], color=colour(name), label=label(name))
    ax.set_xlabel("step")


def accuracy_bars(ax: Axes, names: Sequence[str], values: Sequence[ArrayLike]) -> None:
    """Accuracies in per cent: one dot a seed, a line at their mean; names give the colours.

    Parameters
    ----------
    ax : where to draw
    names : of the arms, from left to right
    values : shares, shape (seeds,) each
    """
    for at, (name, of) in enumerate(zip(names, values, strict=True)):
        dots = 100.0 * np.asarray(of, dtype=np.float64)
        ax.plot(
            at + np.linspace(-0.18, 0.18, len(dots)),
            dots,
            "o",
            color=colour(name),
            alpha=0.75,
            markersize=4.5,
        )
        ax.plot([at - 0.32, at + 0.32], [dots.mean()] * 2, color=colour(name), linewidth=2.2)
    ax.set_xticks(range(len(names)), [label(name) for name in names])
    ax.set_ylabel("accuracy (%)")
    ax.grid(visible=False, axis="x")
