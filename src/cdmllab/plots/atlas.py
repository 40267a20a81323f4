"""All losses on one page: small multiples, stacked curves, a timeline and a heat map."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from cdmllab.analysis.atlas import Entry, Likeness
from cdmllab.analysis.margin_axes import Curve
from cdmllab.margins import MovedBy, label
from cdmllab.plots.labelled import labelled_lines
from cdmllab.plots.style import COLOURS, GRID

# By what moves the margin; each has a contrast of at least 3:1 on white and near-black.
FAMILY_COLOURS: dict[MovedBy, str] = {
    "nothing": COLOURS["softmax"],
    "class": COLOURS["combined"],
    "angle": COLOURS["cdml"],
    "gap": COLOURS["cosface"],
    "norm": COLOURS["arcface"],
    "time": COLOURS["normface"],
    "chance": COLOURS["sphereface"],
}
FAMILY_WORDS: dict[MovedBy, str] = {
    "nothing": "nothing",
    "class": "the class",
    "angle": "the sample's angle",
    "gap": "the gap to negatives",
    "norm": "the norm",
    "time": "time",
    "chance": "chance",
}


def family_rows(families: Mapping[str, MovedBy], columns: int = 4) -> int:
    """How many rows of `small_multiples` the losses need; each family begins a new one."""
    return sum(-(-len(members) // columns) for members in _by_family(families).values())


def small_multiples(
    axes: Sequence[Axes],
    x: ArrayLike,
    curves: Mapping[str, ArrayLike],
    families: Mapping[str, MovedBy],
    *,
    reference: ArrayLike | None = None,
    limits: tuple[float, float] | None = None,
    ticks: Sequence[float] = (),
    columns: int = 4,
) -> None:
    """Draw one small panel for each loss, in rows by family, all with the same axes.

    Parameters
    ----------
    axes : row by row, ``columns * family_rows(families, columns)`` of them
    x : shape (n,)
    curves : values by the name of the loss, each of shape (n,)
    families : what moves the margin of each loss of `curves`
    reference : values that every panel repeats in grey, shape (n,)
    limits : of the vertical axis; None takes those of the curves
    ticks : of the horizontal axis
    columns : panels in a row

    Raises
    ------
    ValueError : another number of axes
    """
    needed = columns * family_rows(families, columns)
    if len(axes) != needed:
        raise ValueError(f"the panels need {needed} axes, but there are {len(axes)}")
    places = np.asarray(x, dtype=np.float64)
    values = {name: np.asarray(curves[name], dtype=np.float64) for name in families}
    low, high = limits or (min(map(np.min, values.values())), max(map(np.max, values.values())))
    last: dict[int, Axes] = {}  # the lowest panel of each column
    first = 0
    for family, members in _by_family(families).items():
        used = columns * -(-len(members) // columns)
        for k, ax in enumerate(axes[first : first + used]):
            if k >= len(members):
                ax.axis("off")
                continue
            last[k % columns] = ax
            if reference is not None:
                ax.plot(places, np.asarray(reference), color=GRID, lw=1.6)
            ax.plot(places, values[members[k]], color=FAMILY_COLOURS[family], lw=2.0)
            ax.set(xlim=(places[0], places[-1]), ylim=(low, high), xticks=ticks)
            ax.set_title("\n".join(textwrap.wrap(label(members[k]), 15)), fontsize=9.5)
            ax.tick_params(labelleft=k % columns == 0, labelbottom=False)
            if k == 0:
                ax.set_ylabel(textwrap.fill(FAMILY_WORDS[family], 13), color=FAMILY_COLOURS[family])
        first += used
    for ax in last.values():
        ax.tick_params(labelbottom=True)


def _by_family(families: Mapping[str, MovedBy]) -> dict[MovedBy, list[str]]:
    """The losses of each family, in the order of `FAMILY_WORDS`."""
    found = {f: [name for name, own in families.items() if own == f] for f in FAMILY_WORDS}
    return {family: members for family, members in found.items() if members}


PARTS: dict[str, str] = {
    "target": "target ψ",
    "slope": "slope ψ′",
    "margin_cos": "margin (cosine)",
    "margin_rad": "margin (radians)",
}


def stacked(
    axes: Sequence[Axes],
    x: ArrayLike,
    curves: Mapping[str, Curve],
    *,
    parts: Sequence[str] = ("target", "slope", "margin_cos"),
    xlabel: str,
    log: bool = False,
) -> None:
    """Draw parts of the curves of some losses, one below the other, over a common axis.

    Parameters
    ----------
    axes : one for each part
    x : the places in the unit of the axis, shape (n,), ascending
    curves : by the name of the loss, from `cdmllab.analysis.margin_axes`
    parts : keys of `PARTS`; no margin in radians is drawn where the target is below -1, which is no
        cosine
    xlabel : label of the lowest axis
    log : as for `labelled_lines`
    """
    for k, (ax, part) in enumerate(zip(axes, parts, strict=True)):
        drawn = {name: np.asarray(getattr(seen, part)) for name, seen in curves.items()}
        if part == "margin_rad":
            drawn = {n: np.where(curves[n].target < -1.0, np.nan, v) for n, v in drawn.items()}
        below = xlabel if k == len(parts) - 1 else ""
        labelled_lines(ax, x, drawn, xlabel=below, ylabel=PARTS[part], log=log)


def timeline(ax: Axes, entries: Sequence[Entry]) -> None:
    """Write losses into a row for the year of their paper and a column for what moves the margin.

    Parameters
    ----------
    ax : axes to draw on; the frame is removed
    entries : rows of `cdmllab.analysis.atlas.atlas`
    """
    families = [family for family in FAMILY_WORDS if any(e.family == family for e in entries)]
    row = 0.0
    for year in sorted({e.year for e in entries}):
        lines = dict.fromkeys(families, 0)
        for entry in (e for e in entries if e.year == year):
            text = textwrap.wrap(entry.label, 12, break_long_words=False)
            ax.text(
                families.index(entry.family),
                row + lines[entry.family],
                "\n".join(text),
                color=FAMILY_COLOURS[entry.family],
                ha="center",
                va="top",
                fontsize=8.5,
            )
            lines[entry.family] += len(text)
        ax.text(-0.62, row, str(year), ha="right", va="top", fontsize=9.5, weight="bold")
        row += max(lines.values()) + 0.5
        ax.axhline(row - 0.3, color=GRID, lw=0.7, xmin=-0.05, clip_on=False)
    for column, family in enumerate(families):
        ax.text(
            column,
            -0.6,
            textwrap.fill(FAMILY_WORDS[family], 11),
            ha="center",
            va="bottom",
            fontsize=9.5,
            weight="bold",
        )
    ax.set(xlim=(-0.6, len(families) - 0.4), ylim=(row, -0.5))
    ax.axis("off")


def likeness_map(ax: Axes, alike: Likeness, *, write: bool = True) -> None:
    """Draw rank correlations as a heat map with the names of the losses.

    Parameters
    ----------
    ax : axes to draw on
    alike : from `cdmllab.analysis.atlas.likeness`
    write : whether to write each correlation into its cell, in tenths
    """
    k = len(alike.names)
    ax.pcolormesh(
        np.arange(k + 1), np.arange(k + 1), alike.correlation, cmap="RdBu_r", vmin=-1.0, vmax=1.0
    )
    if write:
        for i, j in np.ndindex(k, k):
            value = float(alike.correlation[i, j])
            dark = abs(value) > 0.55
            ax.text(
                j + 0.5,
                i + 0.5,
                f"{round(10 * value) + 0:d}",
                ha="center",
                va="center",
                fontsize=8.0,
                color="#ffffff" if dark else "#1a1a1a",
            )
    written = [label(name) for name in alike.names]
    at = np.arange(k) + 0.5
    ax.set_xticks(at, written, rotation=90, fontsize=8.5)
    ax.set_yticks(at, written, fontsize=8.5)
    ax.set(aspect="equal", ylim=(k, 0))
    ax.grid(visible=False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
