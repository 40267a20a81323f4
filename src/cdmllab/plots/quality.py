"""Curves of error against discard, and correlations with known factors."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from cdmllab.plots.style import INK

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def discard_curves(
    ax: Axes,
    rate: ArrayLike,
    curves: Mapping[str, ArrayLike],
    colours: Mapping[str, str],
    *,
    ylabel: str,
    plain: Sequence[str] = (),
) -> None:
    """Plot an error of the pairs that are left against the share discarded, one line per quality.

    Parameters
    ----------
    ax : axes to draw on
    rate : shares discarded, shape (k,)
    curves : by label, the error at each share, shape (k,)
    colours : by label; ink for others
    ylabel : the error
    plain : labels of curves that are drawn thin and dashed, for reference
    """
    for marker, (name, values) in zip(MARKERS * 2, curves.items(), strict=False):
        dashed = name in plain
        ax.plot(
            rate,
            values,
            color=colours.get(name, INK),
            linestyle=(0, (4, 3)) if dashed else "-",
            linewidth=1.2 if dashed else 1.8,
            marker="" if dashed else marker,
            markersize=4,
            markevery=3,
            label=name,
        )
    ax.set(xlabel="share of pairs discarded", ylabel=ylabel)
    ax.set_ylim(bottom=0.0)


def factor_correlations(
    ax: Axes,
    factors: Sequence[str],
    values: Mapping[str, tuple[float, float, float]],
    *,
    title: str,
    labelled: bool = True,
    reach: float = 0.5,
) -> None:
    """Plot the correlation of one score with each factor and its interval, one row each.

    Parameters
    ----------
    ax : axes to draw on
    factors : the rows from the top
    values : for each factor the correlation, and both ends of its interval
    title : the score
    labelled : whether to write the factors' names at the rows
    reach : the ends of the horizontal axis
    """
    for at, name in enumerate(factors):
        value, low, high = values[name]
        clear = low > 0.0 or high < 0.0
        ax.plot([low, high], [at, at], color=INK, linewidth=1.4, solid_capstyle="butt")
        ax.plot(value, at, "o", color=INK, markersize=4, fillstyle="full" if clear else "none")
    ax.axvline(0.0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    names = [name.replace("_", " ") for name in factors] if labelled else [""] * len(factors)
    ax.set_yticks(range(len(factors)), names)
    ax.set(ylim=(len(factors) - 0.5, -0.5), xlim=(-reach, reach), title=title)
    ax.grid(visible=False, axis="y")
