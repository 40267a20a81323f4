"""What a margin does to classes on the sphere: caps on a globe, and curves over the margin."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from cdmllab.plots.sphere import view
from cdmllab.plots.style import IDENTITY_COLOURS, INK


def caps(
    ax: Axes,
    centres: ArrayLike,
    radius_deg: ArrayLike,
    view_deg: tuple[float, float],
    colours: Sequence[str] = IDENTITY_COLOURS,
) -> None:
    """Draw a circle around each centre on a globe; parts behind the globe are left out.

    Parameters
    ----------
    ax : where `plots.sphere` drew the globe
    centres : unit vectors, shape (c, 3)
    radius_deg : angle from the centre to its circle, degrees, shape (c,)
    view_deg : elevation and azimuth of the reader, degrees, as given to `plots.sphere`
    colours : colour of each centre
    """
    rotation = view(*view_deg)
    turn = np.linspace(0.0, 2.0 * np.pi, 181)
    for k, (centre, radius) in enumerate(
        zip(np.asarray(centres, dtype=np.float64), np.radians(radius_deg), strict=True)
    ):
        # Two unit vectors that span the plane of the circle.
        # The axis least parallel to the centre, so that the cross product is not near zero.
        first = np.cross(centre, np.eye(3)[np.abs(centre).argmin()])
        first /= np.linalg.norm(first)
        second = np.cross(centre, first)
        ring = np.cos(radius) * centre + np.sin(radius) * (
            np.cos(turn)[:, None] * first + np.sin(turn)[:, None] * second
        )
        seen = ring @ rotation.T
        seen[seen[:, 2] < 0.0] = np.nan  # the far side
        ax.plot(seen[:, 0], seen[:, 1], color=colours[k % len(colours)], lw=1.1, zorder=3.5)


def over_margin(
    ax: Axes,
    margins_rad: ArrayLike,
    angles_deg: ArrayLike,
    *,
    title: str,
    bound_deg: float | None = None,
) -> None:
    """An angle against the margin: each seed a dot, their mean a line.

    Parameters
    ----------
    ax : where to draw
    margins_rad : margins, radians, shape (k,)
    angles_deg : degrees, shape (k, seeds)
    title : what the angle is
    bound_deg : the largest angle possible, drawn as a dashed line and labelled
    """
    # A dot per seed, and the line of their means.
    m, angles = np.asarray(margins_rad, dtype=np.float64), np.asarray(angles_deg, dtype=np.float64)
    ax.plot(
        np.repeat(m, angles.shape[1]), angles.ravel(), "o", ms=3.5, color=INK, alpha=0.35, mew=0
    )
    ax.plot(m, angles.mean(axis=1), color=INK, lw=1.8)
    top = None
    if bound_deg is not None:
        top = 1.15 * bound_deg
        ax.axhline(bound_deg, color=INK, lw=0.9, ls=(0, (4, 3)))
        ax.text(m[-1], bound_deg, "largest possible", ha="right", va="bottom", fontsize=8)
    ax.set(title=title, xlabel="margin m (radians)", ylim=(0.0, top))
    ax.set_ylabel("degrees")
