"""The hypersphere, by what can be drawn of it: flat maps, angles to neighbours, margins, and the
dimensions in use.
"""

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
    """Points of a map, told apart by identity; its axes mean nothing, so none are drawn.

    Parameters
    ----------
    ax : where to draw
    points : shape (n, 2)
    labels : shape (n,); up to forty identities have a colour and a marker of their own. None draws
        all alike
    title : stands above
    """
    p = np.asarray(points, dtype=np.float64)
    if labels is None:
        ax.plot(p[:, 0], p[:, 1], "o", color=INK, ms=3, mew=0, alpha=0.6)
    else:
        who = np.unique(np.asarray(labels), return_inverse=True)[1]
        for k in range(who.max() + 1):
            marker, shade = (
                _MARKERS[k // len(IDENTITY_COLOURS) % 4],
                IDENTITY_COLOURS[k % len(IDENTITY_COLOURS)],
            )
            ax.plot(*p[who == k].T, marker, color=shade, ms=4.2, mew=0.4, mec=PAPER, alpha=0.9)
    ax.set(xticks=[], yticks=[], title=title)
    ax.set_aspect("equal", adjustable="datalim")
    ax.grid(visible=False)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)


def neighbour_angles(
    ax: Axes, groups: Mapping[str, ArrayLike], *, bound_deg: float | None = None
) -> None:
    """How near the nearest other class centre is: the share of centres that have none nearer than
    each angle.

    Parameters
    ----------
    ax : where to draw
    groups : by name, angles in degrees, shape (c,); a loss has its colour, references are dashed in
        ink
    bound_deg : an angle that no arrangement can exceed; None draws none
    """
    dashes = iter(("--", ":", "-."))
    for name, angles in groups.items():
        a = np.sort(np.asarray(angles, dtype=np.float64))
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
        ylabel="share of the centres",
        ylim=(0.0, 1.03),
    )
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.legend(loc="upper left")


def spectra(
    ax: Axes, shares: Mapping[str, ArrayLike], *, styles: Mapping[str, str] | None = None
) -> None:
    """How much of the variance the first k principal directions hold, a line for each name.

    Parameters
    ----------
    ax : where to draw
    shares : by name, falling shares of the variance, shape (d,)
    styles : dashes by name; "-" where there is none. The first word of a name, in lower case, gives
        the colour
    """
    for name, of in shares.items():
        p = np.asarray(of, dtype=np.float64)
        loss = name.split(",")[0].lower()
        ax.plot(
            np.arange(1, len(p) + 1),
            np.cumsum(p),
            color=colour(loss),
            ls=(styles or {}).get(name, "-"),
            label=name,
        )
    ax.set(xlabel="principal directions", ylabel="share of the variance", ylim=(0.0, 1.03))
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
    """The margin of single samples against their known difficulty, a dot for each; a line through
    medians.

    Parameters
    ----------
    ax : where to draw
    difficulty, margin_rad : shape (n,)
    wrong : which samples carry a wrong label, shape (n,); the line leaves them out
    base_rad : the base margin, drawn dashed
    bins : parts of equally many samples that have a median each
    """
    d, m, w = np.asarray(difficulty), np.asarray(margin_rad), np.asarray(wrong, dtype=bool)
    against_difficulty(ax, d, m, w, alpha=0.4)
    parts = np.array_split(np.argsort(d[~w], kind="stable"), bins)
    middle = np.array([(np.median(d[~w][part]), np.median(m[~w][part])) for part in parts])
    ax.plot(*middle.T, color=PAPER, lw=4.0)
    ax.plot(*middle.T, color=INK, lw=1.8, label="median")
    ax.axhline(base_rad, color=INK, lw=0.8, ls=(0, (4, 3)))
    ax.set_ylabel("margin (rad)")
    ax.legend(loc="lower right")
