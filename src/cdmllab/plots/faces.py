"""Figures of the face lab: the relief of a head, and the response to nuisances."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from cdmllab.plots.style import GRID, IDENTITY_COLOURS


def relief(ax: Axes, radius: ArrayLike) -> None:
    """Map the shape of a head: the distance of the surface from the centre in every direction.

    Parameters
    ----------
    ax : axes to draw on
    radius : shape (rows, columns), around the head from the back to the back and from below to
        above, as returned by `cdmllab.faces.relief`
    """
    ax.imshow(
        np.asarray(radius),
        origin="lower",
        extent=(-1.0, 1.0, -1.0, 1.0),
        aspect="auto",
        cmap="cividis",
    )
    # The horizontal axis is sin(azimuth / 2), so 90 degrees are at the root of one half.
    ax.set_xticks([-1.0, -(0.5**0.5), 0.0, 0.5**0.5, 1.0], ["back", "-90°", "front", "90°", "back"])
    ax.set_yticks([-1.0, 0.0, 1.0], ["below", "level", "above"])
    ax.grid(False)


def response_curves(
    ax: Axes, strengths: Sequence[float], lost: Mapping[str, ArrayLike], named: int = 6
) -> None:
    """Plot how much cosine each nuisance costs as its strength grows.

    Parameters
    ----------
    ax : axes to draw on
    strengths : shape (k,), in [0, 1]
    lost : loss of cosine for each factor, shape (k,)
    named : number of the costliest factors that get a colour and a name; the others are pale
    """
    # Costliest at full strength first.
    order = sorted(lost, key=lambda name: -float(np.asarray(lost[name])[-1]))
    ends = []
    for place, name in enumerate(order):
        values = np.asarray(lost[name])
        if place < named:
            ax.plot(strengths, values, color=IDENTITY_COLOURS[place], zorder=3)
            ends.append((float(values[-1]), name, IDENTITY_COLOURS[place]))
        else:
            ax.plot(strengths, values, color=GRID, linewidth=1.2, zorder=2)
    room = (max(end for end, _, _ in ends) or 1.0) * 0.075  # height of a line of text
    level = np.inf
    for end, name, colour in ends:  # from top to bottom, each label at least a line below the last
        level = min(end, level - room)
        ax.annotate(
            name.replace("_", " "),
            (1.0, end),
            (1.03, level),
            color=colour,
            va="center",
            fontsize=8.5,
            annotation_clip=False,
        )
    ax.set_xlim(0.0, 1.0)
    ax.set_ylim(bottom=min(0.0, min(float(np.min(np.asarray(v))) for v in lost.values())))
    ax.set_xlabel("nuisance strength")
    ax.set_ylabel("loss of cosine")
