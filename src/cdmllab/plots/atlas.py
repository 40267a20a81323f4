"""All losses on one page: small multiples, lines with their names, a timeline and a heat map."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from cdmllab.analysis.atlas import Entry, Likeness
from cdmllab.margins import MovedBy, label
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
_CYCLE = ("arcface", "cdml", "cosface", "sphereface", "combined", "normface", "softmax")
_DASHES = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


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
    """Draw one small panel for each loss, all with the same axes.

    Parameters
    ----------
    axes : at least as many as there are curves, row by row; those left over are hidden
    x : shape (n,)
    curves : values by the name of the loss, each of shape (n,)
    families : what moves the margin of each loss, which sets the colour
    reference : values that every panel repeats in grey, shape (n,)
    limits : of the vertical axis; None takes those of the curves
    ticks : of the horizontal axis
    columns : panels in a row

    Raises
    ------
    ValueError : there are fewer axes than curves
    """
    if len(axes) < len(curves):
        raise ValueError(f"{len(curves)} curves need as many axes, but there are {len(axes)}")
    places = np.asarray(x, dtype=np.float64)
    values = {name: np.asarray(v, dtype=np.float64) for name, v in curves.items()}
    low, high = limits or (min(map(np.min, values.values())), max(map(np.max, values.values())))
    for k, (ax, (name, drawn)) in enumerate(zip(axes, values.items(), strict=False)):
        if reference is not None:
            ax.plot(places, np.asarray(reference), color=GRID, lw=1.6)
        ax.plot(places, drawn, color=FAMILY_COLOURS[families[name]], lw=2.0)
        ax.set(xlim=(places[0], places[-1]), ylim=(low, high))
        ax.set_title("\n".join(textwrap.wrap(label(name), 15)), fontsize=9.0)
        if len(ticks):
            ax.set_xticks(ticks)
        # Only the panels at the left and at the bottom have numbers.
        ax.tick_params(labelleft=k % columns == 0, labelbottom=k + columns >= len(values))
    for ax in axes[len(values) :]:
        ax.axis("off")


def labelled_lines(
    ax: Axes,
    x: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    xlabel: str = "",
    ylabel: str = "",
    labels: bool = True,
    names: Mapping[str, str] | None = None,
) -> None:
    """Draw lines with their names at the right end, where lines that coincide share a label.

    Parameters
    ----------
    ax : axes to draw on
    x : shape (n,), rising or falling
    curves : values by name, each of shape (n,)
    xlabel, ylabel : labels of the axes, with units
    labels : whether to write the names
    names : what to write for a name; by default the label of the loss
    """
    places = np.asarray(x, dtype=np.float64)
    groups: list[tuple[list[str], NDArray[np.float64]]] = []
    for name, given in curves.items():
        values = np.asarray(given, dtype=np.float64)
        same = next((n for n, v in groups if np.allclose(v, values, atol=1e-9)), None)
        if same is None:
            groups.append(([name], values))
        else:
            same.append(name)
    colours = [COLOURS[_CYCLE[k % len(_CYCLE)]] for k in range(len(groups))]
    for k, (_, values) in enumerate(groups):
        ax.plot(places, values, color=colours[k], ls=_DASHES[k % len(_DASHES)], lw=2.0)
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(places[0], places[-1]))
    if not labels:
        return
    ax.margins(y=0.08)
    low, high = ax.get_ylim()
    heights = _spread([values[-1] for _, values in groups], low, high, 0.115 * (high - low))
    written = {**{name: label(name) for name in curves}, **(names or {})}
    for (members, values), at, colour in zip(groups, heights, colours, strict=True):
        ax.annotate(
            ", ".join(written[name] for name in members),
            (1.0, values[-1]),
            (1.03, at),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            color=colour,
            fontsize=9.0,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkA": 1.0},
        )


def _spread(wanted: Iterable[float], low: float, high: float, apart: float) -> list[float]:
    """Heights near the wanted ones, in their order, at least `apart`, from `low` up if possible."""
    heights = np.asarray(list(wanted), dtype=np.float64)
    order = np.argsort(heights, kind="stable")
    placed = heights[order]
    for k in range(1, len(placed)):
        placed[k] = max(placed[k], placed[k - 1] + apart)
    # Where the labels leave the axes at the top, move them down again.
    ceiling = high
    for k in reversed(range(len(placed))):
        placed[k] = min(placed[k], ceiling)
        ceiling = placed[k] - apart
    result = np.empty_like(placed)
    result[order] = placed
    return [float(height) for height in result]


def timeline(ax: Axes, entries: Sequence[Entry], *, first: int = 2017) -> None:
    """Draw losses by the year of their paper, in rows by what moves the margin.

    Parameters
    ----------
    ax : axes to draw on
    entries : rows of `cdmllab.analysis.atlas.atlas`
    first : the first year of the axis; older losses are written at its left end, with their year
    """
    families = [family for family in FAMILY_WORDS if any(e.family == family for e in entries)]
    row, step = 0.0, 0.62
    ticks: list[float] = []
    for family in families:
        stacks: dict[int, int] = {}
        members = sorted((e for e in entries if e.family == family), key=lambda e: e.year)
        for entry in members:
            year = max(entry.year, first)
            level = stacks[year] = stacks.get(year, -1) + 1
            at = row + step * level
            ax.plot(year, at, "o", ms=5.5, color=FAMILY_COLOURS[family])
            old = f" ({entry.year})" if entry.year < first else ""
            ax.annotate(
                "\n".join(textwrap.wrap(entry.label + old, 14)),
                (year, at),
                (5, 0),
                textcoords="offset points",
                fontsize=8.0,
                va="center",
            )
        ticks.append(row)
        row += step * (max(stacks.values()) + 1) + 0.55
        ax.axhline(row - 0.55, color=GRID, lw=0.7)
    last = max(e.year for e in entries)
    ax.set_yticks(ticks, [textwrap.fill(FAMILY_WORDS[f], 11) for f in families])
    ax.set(xlim=(first - 0.3, last + 1.2), xticks=range(first, last + 1), ylim=(row - 0.55, -0.5))
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)


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
