"""Lines with a colour for each loss, and gradients as arrows along the circle."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from cdmllab.plots.style import GRID, INK, PAPER, colour


class Line(NamedTuple):
    """One line of a figure."""

    label: str
    loss: str  # determines the colour
    values: ArrayLike  # [n]
    style: str = "-"  # of the dashes, as in matplotlib
    width: float = 1.8  # points


def lines(
    ax: Axes,
    x: ArrayLike,
    drawn: Sequence[Line],
    *,
    xlabel: str,
    ylabel: str,
    open_at: float = math.inf,
    legend: Literal["inside", "above"] = "inside",
) -> None:
    """Draw lines over a common axis.

    Parameters
    ----------
    ax : axes to draw on
    x : shape (n,), ascending
    drawn : the lines
    xlabel, ylabel : labels of the axes, with units
    open_at : interrupt a line where it jumps by at least this much between two points
    legend : position of the legend
    """
    places = np.asarray(x, dtype=np.float64)
    for line in drawn:
        values = np.asarray(line.values, dtype=np.float64)
        jumps = np.flatnonzero(np.abs(np.diff(values)) >= open_at) + 1  # NaN interrupts a line
        ax.plot(
            np.insert(places, jumps, np.nan),
            np.insert(values, jumps, np.nan),
            color=colour(line.loss),
            ls=line.style,
            lw=line.width,
            label=line.label,
        )
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(places[0], places[-1]))
    if legend == "above":
        ax.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(drawn), columnspacing=1.2
        )
    else:
        ax.legend()


def degrees_axis(ax: Axes, *, stop: int = 180, step: int = 30) -> None:
    """Make the horizontal axis one of angles to the target centre, in degrees."""
    ax.set(
        xlabel="angle θ to the target centre (degrees)",
        xlim=(0, stop),
        xticks=range(0, stop + 1, step),
    )


def pull_arrows(
    ax: Axes, angle_rad: ArrayLike, pull: ArrayLike, *, loss: str, longest: float, title: str = ""
) -> None:
    """Draw samples on an arc, each with its gradient as an arrow along the sphere.

    Parameters
    ----------
    ax : axes to draw on; the frame is removed
    angle_rad : angles of the samples to the target centre, shape (n,), radians
    pull : gradient of the loss with respect to the angle, shape (n,); positive values point towards
        the target centre
    loss : determines the colour
    longest : the gradient whose arrow is a fifth of the radius long
    title : title of the axes
    """
    theta, force = np.asarray(angle_rad, dtype=np.float64), np.asarray(pull, dtype=np.float64)
    # The arc begins at the target centre, at the top, and runs clockwise.
    arc = np.radians(np.linspace(0.0, 120.0, 121))
    ax.plot(np.sin(arc), np.cos(arc), color=GRID, lw=1.0, zorder=1)
    ax.plot([0.0, 0.0], [0.0, 1.0], color=GRID, lw=0.8, zorder=1)
    ax.plot(0.0, 1.0, "o", ms=9, mfc=PAPER, mec=colour(loss), mew=2.2, zorder=4)
    ax.annotate(
        "target centre", (0.0, 1.0), (-6, 6), textcoords="offset points", ha="right", fontsize=8.5
    )
    for t, f in zip(theta, force, strict=True):
        x, y, length = np.sin(t), np.cos(t), 0.2 * f / longest
        ax.plot(x, y, "o", ms=4.5, color=INK, zorder=3)
        # An arrow along the tangent; shorter ones would be only a head.
        if abs(length) > 0.01:
            arrow = {
                "arrowstyle": "-|>",
                "color": colour(loss),
                "lw": 1.6,
                "shrinkA": 0.0,
                "shrinkB": 0.0,
            }
            ax.annotate("", (x - y * length, y + x * length), (x, y), arrowprops=arrow, zorder=2)
        ax.text(
            1.13 * x,
            1.13 * y,
            f"{np.degrees(t):.0f}°",
            ha="center",
            va="center",
            fontsize=7.5,
            color=INK,
        )
    ax.set(xlim=(-0.45, 1.25), ylim=(-0.6, 1.15), aspect="equal")
    ax.axis("off")
    ax.set_title(title, loc="center")
