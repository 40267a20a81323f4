"""Figures of networks: a residual block, costs, receptive fields and latencies."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.patches import FancyBboxPatch

from cdmllab.plots.style import GRID, IDENTITY_COLOURS, INK, PAPER

# Families of networks. They are not losses, so they do not use the losses' colours.
FAMILIES = {
    "full": IDENTITY_COLOURS[0],
    "lite": IDENTITY_COLOURS[1],
    "lightweight": IDENTITY_COLOURS[2],
}
_MARKERS = "osD^vP*X"


def family(name: str) -> str:
    """The family of a backbone by its name: ``full``, ``lite`` or ``lightweight``."""
    return "lite" if name.endswith("_lite") else name if name in FAMILIES else "full"


def residual_block(ax: Axes) -> None:
    """Draw the first IResNet block of a stage: main path, shortcut, and no final activation."""
    layers = ("BN", "3×3", "BN", "PReLU", "3×3, /2", "BN")
    # Boxes at equal distances; the shortcut leaves before the first and joins after the last.
    at = 1.6 + 1.55 * np.arange(len(layers))
    ax.annotate(
        "", (13.2, 0.0), (-0.3, 0.0), arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.2}
    )
    ax.plot(
        [0.4, 0.4, 11.4, 11.4], [0.0, -1.5, -1.5, -0.25], color=INK, lw=1.2, solid_joinstyle="round"
    )
    for x, name in zip(at, layers, strict=True):
        _box(ax, x, 0.0, 1.25, name, strong="3×3" in name)
    _box(ax, float(at[1]), -1.5, 1.6, "1×1, /2", strong=True)
    _box(ax, float(at[3]) - 0.4, -1.5, 1.25, "BN", strong=False)
    ax.plot(11.4, 0.0, "o", ms=15, mfc=PAPER, mec=INK, mew=1.2, zorder=4)
    ax.text(11.4, 0.0, "+", ha="center", va="center", fontsize=12, color=INK, zorder=5)
    for x, words in ((-0.2, "c × h × w"), (12.7, "2c × h/2 × w/2")):
        ax.text(x, 0.35, words, fontsize=7.5, color=INK, ha="center")
    ax.text(6.0, -2.25, "only where the size or the width changes; elsewhere the identity",
            fontsize=8,
            color=INK, ha="center")  # fmt: skip
    ax.set(xlim=(-1.2, 13.6), ylim=(-2.5, 0.9), aspect="equal")
    ax.axis("off")


def shares(
    ax: Axes, rows: Mapping[str, Sequence[float]], parts: Sequence[str], *, title: str = ""
) -> None:
    """Draw the shares of several parts in a total as stacked bars, one bar per row.

    Parameters
    ----------
    ax : axes to draw on
    rows : the amounts of the parts by the name of the row, in any unit
    parts : names of the parts
    title : title of the axes
    """
    for row, amounts in enumerate(rows.values()):
        percent = 100.0 * np.asarray(amounts) / np.sum(amounts)
        # Each part begins where the previous ones end.
        left = np.concatenate([[0.0], np.cumsum(percent)[:-1]])
        for k, (start, width) in enumerate(zip(left, percent, strict=True)):
            shade = IDENTITY_COLOURS[k % len(IDENTITY_COLOURS)]
            ax.barh(row, width, left=start, color=shade, height=0.62, edgecolor=PAPER, lw=0.8,
                    label=parts[k] if row == 0 else None)  # fmt: skip
            if width >= 7.0:  # room for the number
                ax.text(
                    start + width / 2,
                    row,
                    f"{width:.0f}",
                    ha="center",
                    va="center",
                    color=PAPER,
                    fontsize=8,
                )
    ax.set(
        yticks=range(len(rows)),
        yticklabels=list(rows),
        xlim=(0, 100),
        xlabel="share of the total (%)",
    )
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.set_title(title)


def costs(ax: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Plot networks by parameters (10^6) and MACs (10^9), with a line through each family."""
    # A line through each family, and the name of every network at its point.
    for kind, shade in FAMILIES.items():
        members = {name: point for name, point in points.items() if family(name) == kind}
        if members:
            ax.plot(*zip(*members.values(), strict=True), "o-", color=shade, label=kind)
        for name, (x, y) in members.items():
            # The families overlap, so one of them has its labels on the left.
            left = kind == "lite"
            ax.annotate(
                name,
                (x, y),
                xytext=(-7 if left else 7, -3),
                textcoords="offset points",
                fontsize=8,
                color=INK,
                ha="right" if left else "left",
            )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="parameters (millions)",
        ylabel="MACs per image (10⁹)",
    )
    # Room for the names on both sides.
    lowest, highest = min(x for x, _ in points.values()), max(x for x, _ in points.values())
    ax.set_xlim(0.75 * lowest, 1.7 * highest)
    _plain(ax.xaxis, (1, 2, 5, 10, 20, 50, 100))
    _plain(ax.yaxis, (0.01, 0.03, 0.1, 0.3, 1, 3, 10))
    ax.legend()


def receptive_fields(
    ax: Axes, fields: Mapping[str, Sequence[float]], places: Sequence[str], size: int
) -> None:
    """Plot the receptive field after each part of a network, in pixels, and the image size."""
    for k, (name, values) in enumerate(fields.items()):
        ax.plot(
            range(len(places)), values, f"{_MARKERS[k]}-", color=IDENTITY_COLOURS[k], label=name
        )
    ax.axhline(size, color=INK, lw=0.9, ls=(0, (4, 3)))
    ax.text(-0.1, size * 1.08, f"image: {size} pixels", fontsize=8, color=INK)
    ax.set(
        yscale="log",
        ylabel="receptive field (pixels)",
        xticks=range(len(places)),
        xticklabels=list(places),
    )
    _plain(ax.yaxis, (1, 3, 10, 30, 100, 300, 1000, 3000))
    ax.legend(loc="lower right")


def latencies(
    ax: Axes, ways: Mapping[str, Mapping[str, float]], *, unit: str = "R18 in eager float32"
) -> None:
    """Plot the latency of each network, one row each, for several ways of running it.

    Parameters
    ----------
    ax : axes to draw on
    ways : for each way of running, the time of each network in `unit`; networks may be missing
    unit : the unit of the times
    """
    names = list(dict.fromkeys(name for times in ways.values() for name in times))
    for row, name in enumerate(names):  # a line over the range of its times
        measured = [times[name] for times in ways.values() if name in times]
        ax.plot([min(measured), max(measured)], [row, row], color=GRID, lw=2.0, zorder=1)
    for k, (way, times) in enumerate(ways.items()):
        rows = [names.index(name) for name in times]
        ax.plot(list(times.values()), rows, _MARKERS[k % len(_MARKERS)], ms=6, ls="none",
                color=IDENTITY_COLOURS[k % len(IDENTITY_COLOURS)], label=way)  # fmt: skip
    ax.set(
        xscale="log",
        yticks=range(len(names)),
        yticklabels=names,
        xlabel=f"time per image (1 = {unit})",
    )
    ax.invert_yaxis()
    _plain(ax.xaxis, (0.01, 0.03, 0.1, 0.3, 1, 3, 10))
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _plain(axis: Axis, ticks: Sequence[float]) -> None:
    """Label a logarithmic axis with those of the given numbers that are within its limits."""
    low, high = sorted(axis.get_view_interval())  # an inverted axis has them swapped
    visible = [tick for tick in ticks if low <= tick <= high]
    axis.set_ticks(visible, labels=[f"{tick:g}" for tick in visible])
    axis.minorticks_off()


def _box(ax: Axes, x: float, y: float, width: float, words: str, *, strong: bool) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - 0.3),
            width,
            0.6,
            boxstyle="round,pad=0,rounding_size=0.12",
            fc=FAMILIES["full"] if strong else PAPER,
            ec=FAMILIES["full"] if strong else INK,
            lw=1.0,
            zorder=3,
        )
    )
    ax.text(
        x,
        y,
        words,
        ha="center",
        va="center",
        fontsize=8.5,
        color=PAPER if strong else INK,
        zorder=4,
    )
