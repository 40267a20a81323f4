"""Unit embeddings in three dimensions, drawn on a globe in orthographic projection."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from cdmllab.plots.style import GRID, IDENTITY_COLOURS, INK, PAPER

Floats = NDArray[np.float64]


def view(elevation_deg: float, azimuth_deg: float) -> Floats:
    """The rotation that turns the globe towards the reader, shape (3, 3).

    Its rows are the directions right, up and towards the reader.
    """
    e, a = math.radians(elevation_deg), math.radians(azimuth_deg)
    towards = [math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)]
    right = [-math.sin(a), math.cos(a), 0.0]
    return np.array([right, np.cross(towards, right), towards])  # [3, 3]


def facing(points: ArrayLike, steps: int = 24) -> tuple[float, float]:
    """The view (elevation, azimuth), in degrees, with most of the points (n, 3) in front."""
    p = np.asarray(points, dtype=np.float64)
    best, chosen = -math.inf, (20.0, 30.0)
    for elevation in (-30.0, -10.0, 10.0, 30.0):
        for azimuth in np.arange(steps) * 360.0 / steps:
            depth = p @ view(elevation, azimuth)[2]
            # Points far behind or in front count no more than others, so that most are in front.
            score = float(np.clip(depth, -0.2, 0.6).mean())
            if score > best:
                best, chosen = score, (elevation, float(azimuth))
    return chosen


def sphere(
    ax: Axes,
    points: ArrayLike,
    labels: ArrayLike,
    *,
    centres: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    view_deg: tuple[float, float] | None = None,
    colours: Sequence[str] = IDENTITY_COLOURS,
    title: str = "",
) -> None:
    """Draw unit vectors on a globe, coloured by identity; those on the far side are faint.

    Parameters
    ----------
    ax : axes to draw on; the frame is removed
    points : unit vectors, shape (n, 3)
    labels : identity of each point, shape (n,), counted from 0
    centres : class centres, unit vectors of shape (c, 3), drawn as rings
    names : labels of the c centres
    view_deg : elevation and azimuth of the view, degrees; None chooses the view with most of the
        centres (or points) in front
    colours : colour of each identity
    title : title of the axes

    Raises
    ------
    ValueError : the points have another shape, or not one label each
    """
    p, ids = np.asarray(points, dtype=np.float64), np.asarray(labels)
    if p.ndim != 2 or p.shape[1] != 3 or len(p) != len(ids):
        raise ValueError(
            f"points must have shape (n, 3) with n labels, got {p.shape} and {ids.shape}"
        )
    rotation = view(*(view_deg or facing(p if centres is None else centres)))
    p = p @ rotation.T  # right, up, towards the reader
    _globe(ax, rotation)
    colour = np.array([colours[int(k) % len(colours)] for k in ids])
    for front in (False, True):  # the far side first
        rows = (p[:, 2] >= 0.0) == front
        ax.scatter(
            p[rows, 0],
            p[rows, 1],
            s=14 if front else 9,
            c=colour[rows],
            alpha=0.85 if front else 0.16,
            linewidths=0,
            zorder=4 if front else 1,
            rasterized=len(p) > 3000,
        )
    if centres is not None:
        c = np.asarray(centres, dtype=np.float64) @ rotation.T
        for k, (x, y, z) in enumerate(c):
            alpha = 1.0 if z >= 0 else 0.35
            ring = colours[k % len(colours)]
            ax.plot(
                x,
                y,
                "o",
                ms=8,
                mfc=PAPER,
                mec=ring,
                mew=2.0,
                alpha=alpha,
                zorder=6 if z >= 0 else 2,
            )
            if names is not None:
                # Names are outside of the globe, but above a centre that is near its middle.
                length = max(math.hypot(x, y), 1e-6)
                reach = 1.13 if length > 0.45 else 1.0
                at = (x / length * reach, y / length * reach) if reach > 1.0 else (x, y + 0.14)
                ax.text(
                    *at,
                    names[k],
                    color=ring,
                    ha="center",
                    va="center",
                    fontsize=9,
                    fontweight="bold",
                    alpha=alpha,
                    zorder=7,
                )
    ax.set_title(title, loc="center")


def _globe(ax: Axes, rotation: Floats) -> None:
    """Draw the outline, meridians and parallels, fainter on the far side."""
    t = np.linspace(0.0, 2.0 * math.pi, 181)
    ax.plot(np.cos(t), np.sin(t), color=INK, lw=1.0, zorder=3, solid_capstyle="round")
    circles = [
        # Parallels, then meridians as complete circles.
        np.stack(
            [np.cos(t) * math.cos(lat), np.sin(t) * math.cos(lat), np.full_like(t, math.sin(lat))],
            axis=1,
        )
        for lat in np.radians([-60, -30, 0, 30, 60])
    ]
    circles += [
        np.stack([np.cos(t) * math.cos(lon), np.cos(t) * math.sin(lon), np.sin(t)], axis=1)
        for lon in np.radians(np.arange(0, 180, 30))
    ]
    for circle in circles:
        q = circle @ rotation.T
        for front in (False, True):
            # NaN hides the other half.
            half = np.where(((q[:, 2] >= 0.0) == front)[:, None], q, np.nan)
            ax.plot(
                half[:, 0], half[:, 1], color=GRID, lw=0.7, alpha=1.0 if front else 0.4, zorder=0
            )
    ax.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect="equal")
    ax.axis("off")
