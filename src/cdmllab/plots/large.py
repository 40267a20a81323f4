"""Large heads: what they hold against the number of identities, and what measured ones take."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import ArrayLike

from cdmllab.plots.style import IDENTITY_COLOURS, INK

_STYLES = ("-", "--", "-.", ":")


class MeasuredHead(NamedTuple):
    """A head that was measured: its name, and time and memory as multiples of a limit."""

    name: str
    time: float
    memory: float
    ours: bool


def against_identities(
    ax: Axes,
    identities: ArrayLike,
    lines: Mapping[str, ArrayLike],
    *,
    ylabel: str,
    limits: Mapping[str, float] | None = None,
    dots: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> None:
    """A cost against the number of identities, both on logarithmic axes.

    Parameters
    ----------
    ax : where to draw
    identities : shape (n,)
    lines : by name, counted values, shape (n,)
    ylabel : what they are, with unit
    limits : by name, a value that something can hold, drawn across
    dots : identities and values that were measured, shape (k,) each, by the name of a line, or by a
        name of their own
    """
    for k, (name, values) in enumerate(lines.items()):
        shade = IDENTITY_COLOURS[k % len(IDENTITY_COLOURS)]
        ax.plot(identities, values, color=shade, ls=_STYLES[k % 4], label=name)
        if dots and name in dots:
            ax.plot(*dots[name], "o", color=shade, ms=5)
    for k, (name, (x, y)) in enumerate((dots or {}).items()):
        if name not in lines:
            ax.plot(
                x,
                y,
                "s",
                color=IDENTITY_COLOURS[(len(lines) + k) % len(IDENTITY_COLOURS)],
                ms=5,
                label=name,
            )
    left = float(np.min(np.asarray(identities)))
    for name, value in (limits or {}).items():
        ax.axhline(value, color=INK, lw=0.8, ls=(0, (2, 3)))
        ax.annotate(name, (left, value), (0, 2), textcoords="offset points", fontsize=8)
    ax.set(xscale="log", yscale="log", xlabel="identities", ylabel=ylabel)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    ax.legend(fontsize=8)


def measured_heads(
    ax: Axes, heads: Sequence[MeasuredHead], *, first: bool = True, title: str = ""
) -> None:
    """Heads by time and memory, each as a multiple of what no head can do without.

    The nearer a head lies to (1, 1), the better.

    Parameters
    ----------
    ax : where to draw
    heads : what was measured; ours are filled
    first : whether to label the vertical axis
    title : stands above
    """
    for k, head in enumerate(heads):
        shade = IDENTITY_COLOURS[k % len(IDENTITY_COLOURS)]
        ax.plot(head.time, head.memory, "o" if head.ours else "s", color=shade, ms=7,
                fillstyle="full" if head.ours else "none", mew=1.6, label=head.name)  # fmt: skip
    ax.axvline(1.0, color=INK, lw=0.8, ls=(0, (4, 3)))
    ax.axhline(1.0, color=INK, lw=0.8, ls=(0, (4, 3)))
    ax.set(xlabel="time (1 = three bare products)", yscale="log", title=title)
    ax.set_ylabel("peak memory (1 = gradient of the centres)" if first else "")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_yticks([1, 2, 3, 5, 7])
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlim(left=0.0)


def short(number: float) -> str:
    """Ten thousand as ``10k``, a hundred million as ``100M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"
