"""Large heads: cost as the number of identities grows, and measurements of several heads."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import ArrayLike

from cdmllab.plots.style import IDENTITY_COLOURS, INK

_STYLES = ("-", "--", "-.", ":")


class MeasuredHead(NamedTuple):
    """A measurement of a head, with time and memory as multiples of a lower bound."""

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
    """Plot costs against the number of identities, on logarithmic axes.

    Parameters
    ----------
    ax : axes to draw on
    identities : shape (n,)
    lines : computed values by name, shape (n,)
    ylabel : quantity and unit
    limits : named capacities, drawn as horizontal lines
    dots : measured identities and values, shape (k,) each, under the name of a line or another name
    """
    for k, (name, values) in enumerate(lines.items()):
        shade = IDENTITY_COLOURS[k % len(IDENTITY_COLOURS)]
        ax.plot(identities, values, color=shade, ls=_STYLES[k % 4], label=name)
        if dots and name in dots:
            ax.plot(*dots[name], "o", color=shade, ms=5)
    # Measurements without a line of their own get squares in the next colours.
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
    left = float(np.min(np.asarray(identities)))  # where the names of limits begin
    for name, value in (limits or {}).items():
        ax.axhline(value, color=INK, lw=0.8, ls=(0, (2, 3)))
        ax.annotate(name, (left, value), (0, 2), textcoords="offset points", fontsize=8)
    # Plain numbers on logarithmic axes, such as 10k in place of a power of ten.
    ax.set(xscale="log", yscale="log", xlabel="identities", ylabel=ylabel)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    ax.legend(fontsize=8)


def measured_heads(
    ax: Axes, heads: Sequence[MeasuredHead], *, first: bool = True, title: str = ""
) -> None:
    """Plot heads by time and memory, each as a multiple of the minimum that every head needs.

    The closer a head is to (1, 1), the better.

    Parameters
    ----------
    ax : axes to draw on
    heads : the measurements; ours have filled markers
    first : whether to label the vertical axis
    title : title of the axes
    """
    for k, head in enumerate(heads):
        shade = IDENTITY_COLOURS[k % len(IDENTITY_COLOURS)]
        ax.plot(head.time, head.memory, "o" if head.ours else "s", color=shade, ms=7,
                fillstyle="full" if head.ours else "none", mew=1.6, label=head.name)  # fmt: skip
    # The bounds: no head can be left of or below these lines.
    ax.axvline(1.0, color=INK, lw=0.8, ls=(0, (4, 3)))
    ax.axhline(1.0, color=INK, lw=0.8, ls=(0, (4, 3)))
    ax.set(xlabel="time (1 = three matrix products)", yscale="log", title=title)
    ax.set_ylabel("peak memory (1 = gradient of the centres)" if first else "")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_yticks([1, 2, 3, 5, 7])
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlim(left=0.0)


def short(number: float) -> str:
    """Abbreviate a number: ten thousand is ``10k``, a hundred million ``100M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"
