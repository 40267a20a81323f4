"""Views of the hypersphere: flat maps, angles between centres, spectra, and margins."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from cdmllab.margins import label
from cdmllab.plots.easiness import against_difficulty
from cdmllab.plots.style import IDENTITY_COLOURS, INK, PAPER, colour

_MARKERS = "os^D"


def flat_map(
    ax: Axes, points: ArrayLike, labels: ArrayLike | None = None, *, title: str = ""
) -> None:
    """Draw the points of a two-dimensional projection, without axes, which have no meaning.

    Parameters
    ----------
    ax : axes to draw on
    points : shape (n, 2)
    labels : identities, shape (n,); up to forty have a distinct combination of colour and marker.
        None draws all points alike
    title : title of the axes
    """
    p = np.asarray(points, dtype=np.float64)
    if labels is None:
        ax.plot(p[:, 0], p[:, 1], "o", color=INK, ms=3, mew=0, alpha=0.6)
    else:
        identity = np.unique(np.asarray(labels), return_inverse=True)[1]  # identities as 0, 1, ...
        for k in range(identity.max() + 1):
            marker, shade = (
                _MARKERS[k // len(IDENTITY_COLOURS) % 4],
                IDENTITY_COLOURS[k % len(IDENTITY_COLOURS)],
            )
            ax.plot(*p[identity == k].T, marker, color=shade, ms=4.2, mew=0.4, mec=PAPER, alpha=0.9)
    ax.set(xticks=[], yticks=[], title=title)
    ax.set_aspect("equal", adjustable="datalim")  # distances count, axes do not
    ax.grid(visible=False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)


def neighbour_angles(
    ax: Axes, groups: Mapping[str, ArrayLike], *, bound_deg: float | None = None
) -> None:
    """Plot the distribution function of the angles from class centres to nearest neighbours.

    Parameters
    ----------
    ax : axes to draw on
    groups : angles in degrees by name, shape (c,); losses have their colours, any other name is
        dashed in ink
    bound_deg : an angle that no arrangement of centres can exceed, drawn as a line; None draws none
    """
    dashes = iter(("--", ":", "-."))
    for name, angles in groups.items():
        a = np.sort(np.asarray(angles, dtype=np.float64))  # each angle is a step of 1 / c
        shade = colour(name)
        ax.step(a, np.arange(1, len(a) + 1) / len(a), where="post", color=shade, label=label(name),
                ls=next(dashes) if shade == INK else "-")  # fmt: skip
    if bound_deg is not None:
        ax.axvline(bound_deg, color=INK, lw=0.8)
        ax.annotate(
            f"bound {bound_deg:.1f}°",
            (bound_deg, 1.0),
            (-3, -2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=8,
            rotation=90,
        )
    ax.set(
        xlabel="angle to the nearest other centre (degrees)",
        ylabel="share of centres",
        ylim=(0.0, 1.03),
    )
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.legend(loc="upper left")


def spectra(
    ax: Axes, shares: Mapping[str, ArrayLike], *, styles: Mapping[str, str] | None = None
) -> None:
    """Plot the share of the variance in the first k principal directions, one line per name.

    Parameters
    ----------
    ax : axes to draw on
    shares : shares of the variance by name, descending, shape (d,). The part of a name before a
        comma, in lower case, determines the colour
    styles : dashes by name; "-" by default
    """
    for name, variance in shares.items():
        p = np.asarray(variance, dtype=np.float64)  # descending
        loss = name.split(",")[0].lower()  # "ArcFace, linear" has the colour of arcface
        ax.plot(
            np.arange(1, len(p) + 1),
            np.cumsum(p),
            color=colour(loss),
            ls=(styles or {}).get(name, "-"),
            label=name,
        )
    ax.set(xlabel="number of principal directions", ylabel="share of variance", ylim=(0.0, 1.03))
    ax.set_xlim(left=1)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.legend(loc="lower right")


def margins_against_difficulty(
    ax: Axes,
    difficulty: ArrayLike,
    margin_rad: ArrayLike,
    wrong: ArrayLike,
    *,
    base_rad: float,
    bins: int = 10,
) -> None:
    """Plot the margins of samples against their known difficulty, with a line through medians.

    Parameters
    ----------
    ax : axes to draw on
    difficulty, margin_rad : shape (n,)
    wrong : mask of the samples with a wrong label, shape (n,), which the line ignores
    base_rad : the base margin, drawn dashed
    bins : number of medians, each over the same number of samples
    """
    d, m, w = np.asarray(difficulty), np.asarray(margin_rad), np.asarray(wrong, dtype=bool)
    against_difficulty(ax, d, m, w, alpha=0.4)
    parts = np.array_split(np.argsort(d[~w], kind="stable"), bins)  # as many samples in each
    middle = np.array([(np.median(d[~w][part]), np.median(m[~w][part])) for part in parts])
    ax.plot(*middle.T, color=PAPER, lw=4.0)  # a halo
    ax.plot(*middle.T, color=INK, lw=1.8, label="median")
    ax.axhline(base_rad, color=INK, lw=0.8, ls=(0, (4, 3)))
    ax.set_ylabel("margin (radians)")
    ax.legend(loc="lower right")
