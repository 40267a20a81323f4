"""Results of trainings: curves with their spread over seeds, and differences with intervals."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from cdmllab.margins import label
from cdmllab.plots.style import GRID, INK, colour

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
    """Plot a quantity against the training step, one line per name with a band of one spread.

    Parameters
    ----------
    ax : axes to draw on
    curves : curves by the name that determines colour and label
    ylabel : quantity and unit
    colours : colours by name that replace the default ones
    scale : factor on the values, 100 for per cent
    """
    for name, (step, mean, spread) in curves.items():
        x, y, s = (np.asarray(v, dtype=np.float64) for v in (step, mean, spread))
        # The caller's colour, or a difficulty group's, or a loss's.
        shade = (colours or {}).get(name) or GROUPS.get(name) or colour(name)
        ax.plot(x, scale * y, color=shade, label=label(name))
        if np.any(s > 0):  # a single seed has no spread
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
    band: float | None = None,
    references: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Plot differences with their intervals, one row each from the top, with a line at zero.

    Parameters
    ----------
    ax : axes to draw on
    rows : for each label the mean, and the lower and upper end of its interval
    clear : labels of the rows with a significant difference, which get a filled dot. Several rows
        are several comparisons, so an interval that excludes zero is not sufficient
    unit : unit of the axis
    scale : factor on the values
    band : the smallest effect of interest, shaded on both sides of zero
    references : by label further values, such as published ones, drawn as ticks in rows of their
        own below the others
    """
    if band is not None:
        ax.axvspan(-scale * band, scale * band, color=GRID, alpha=0.45, linewidth=0, zorder=0)
    # From the top: a bar over the interval and a dot at the mean.
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
    below = references or {}
    for at, values in enumerate(below.values(), start=len(rows)):
        ax.plot(scale * np.asarray(values), [at] * len(values), "|", color=INK, markersize=9)
    ax.axvline(0.0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    labels = [*rows, *below]
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)  # the first row on top
    ax.set_xlabel(f"difference ({unit})")
    ax.grid(visible=False, axis="y")


def sample_margins(
    ax: Axes, step: ArrayLike, low: ArrayLike, middle: ArrayLike, high: ArrayLike, name: str
) -> None:
    """Plot how a quantity is distributed over the samples of a batch, at each step.

    Parameters
    ----------
    ax : axes to draw on
    step : shape (n,)
    low, middle, high : lower quantile, median and upper quantile at each step, shape (n,)
    name : determines colour and label
    """
    x, a, m, b = (np.asarray(v, dtype=np.float64) for v in (step, low, middle, high))
    keep: NDArray[np.bool_] = np.isfinite(m)  # steps with a measurement
    ax.fill_between(x[keep], a[keep], b[keep], color=colour(name), alpha=0.22, linewidth=0)
    ax.plot(x[keep], m[keep], color=colour(name), label=label(name))
    ax.set_xlabel("step")


def paired_seeds(
    ax: Axes, names: Sequence[str], values: Sequence[ArrayLike], *, labels: Sequence[str]
) -> None:
    """Plot values in per cent with a line for each seed from arm to arm, and the arms' means.

    Parameters
    ----------
    ax : axes to draw on
    names : names of the arms, from left to right, which determine the colours
    values : values in [0, 1], shape (seeds,) each, in the same order of seeds
    labels : what to print below each arm
    """
    table = 100.0 * np.array([np.asarray(v, dtype=np.float64) for v in values])  # [arms, seeds]
    at = np.arange(len(table))
    ax.plot(at, table, color=INK, alpha=0.25, linewidth=0.9)
    for x, (name, row) in enumerate(zip(names, table, strict=True)):
        ax.plot([x] * len(row), row, "o", color=colour(name), markersize=4, alpha=0.8)
        ax.plot([x - 0.22, x + 0.22], [row.mean()] * 2, color=colour(name), linewidth=2.6)
    ax.set_xticks(at, labels)
    ax.set_xlim(-0.5, len(table) - 0.5)
    ax.set_ylabel("%")
    ax.grid(visible=False, axis="x")


def accuracy_bars(ax: Axes, names: Sequence[str], values: Sequence[ArrayLike]) -> None:
    """Plot accuracies in per cent, with one dot per seed and a line at the mean.

    Parameters
    ----------
    ax : axes to draw on
    names : names of the arms, from left to right, which determine the colours
    values : accuracies in [0, 1], shape (seeds,) each
    """
    for at, (name, accuracies) in enumerate(zip(names, values, strict=True)):
        dots = 100.0 * np.asarray(accuracies, dtype=np.float64)
        ax.plot(
            # Side by side, so that equal dots stay visible.
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
