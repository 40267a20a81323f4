"""Lines with their names at the right end, in place of a legend."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from cdmllab.margins import label
from cdmllab.plots.style import COLOURS

_CYCLE = ("arcface", "cdml", "cosface", "sphereface", "combined", "normface", "softmax")
_DASHES = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


def labelled_lines(
    ax: Axes,
    x: ArrayLike,
    curves: Mapping[str, ArrayLike],
    *,
    xlabel: str = "",
    ylabel: str = "",
    names: Mapping[str, str] | None = None,
    log: bool = False,
) -> None:
    """Draw lines with their names at the right end, where lines that coincide share a label.

    Parameters
    ----------
    ax : axes to draw on
    x : shape (n,), ascending
    curves : values by name, each of shape (n,); a line pauses where they are NaN
    xlabel, ylabel : labels of the axes, with units
    names : what to write for a name; by default the label of the loss
    log : whether the horizontal axis is logarithmic, in powers of two
    """
    places = np.asarray(x, dtype=np.float64)
    groups: list[tuple[list[str], NDArray[np.float64]]] = []
    looks = {}
    for k, (name, given) in enumerate(curves.items()):
        # A loss looks the same in every panel, whichever losses it coincides with.
        looks[name] = COLOURS[_CYCLE[k % len(_CYCLE)]], _DASHES[k % len(_DASHES)]
        values = np.asarray(given, dtype=np.float64)
        same = next((n for n, v in groups if _equal(v, values)), None)
        if same is None:
            groups.append(([name], values))
        else:
            same.append(name)
    for members, values in groups:
        colour, dashes = looks[members[0]]
        ax.plot(places, values, color=colour, ls=dashes, lw=2.0)
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(places[0], places[-1]))
    if log:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
    ax.margins(y=0.08)
    low, high = ax.get_ylim()
    written = {**{name: label(name) for name in curves}, **(names or {})}
    texts = [textwrap.wrap(", ".join(written[n] for n in members), 26) for members, _ in groups]
    last = [int(np.flatnonzero(np.isfinite(values))[-1]) for _, values in groups]
    ends = [float(values[k]) for k, (_, values) in zip(last, groups, strict=True)]
    line = 0.115 * (high - low)  # the height of a line of text
    heights = _spread(ends, [line * len(text) for text in texts], high)
    for k, (members, _) in enumerate(groups):
        colour = looks[members[0]][0]
        ax.annotate(
            "\n".join(texts[k]),
            (places[last[k]], ends[k]),
            (1.03, heights[k]),
            xycoords="data",
            textcoords=("axes fraction", "data"),
            color=colour,
            fontsize=9.0,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkA": 1.0},
        )


def _spread(wanted: Sequence[float], sizes: Sequence[float], high: float) -> list[float]:
    """Centres near the wanted ones, in their order, so that labels of these sizes do not overlap;
    the highest ends at `high` or below.
    """
    order = [int(k) for k in np.argsort(wanted, kind="stable")]
    placed = dict(enumerate(wanted))
    for lower, upper in pairwise(order):
        placed[upper] = max(placed[upper], placed[lower] + (sizes[lower] + sizes[upper]) / 2.0)
    # Where the labels leave the axes at the top, move them down again.
    ceiling = high
    for k in reversed(order):
        placed[k] = min(placed[k], ceiling - sizes[k] / 2.0)
        ceiling = placed[k] - sizes[k] / 2.0
    return [placed[k] for k in range(len(wanted))]


def _equal(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    return bool(np.allclose(a, b, atol=1e-9, equal_nan=True))
