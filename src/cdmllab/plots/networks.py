"""Networks: the block drawn, where parameters and MACs are, how far a network sees, how long it
takes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.patches import FancyBboxPatch

from cdmllab.plots.style import GRID, IDENTITY_COLOURS, INK, PAPER

# Families of networks and stages of one; not losses, so not the colours of losses.
FAMILIES = {
    "full": IDENTITY_COLOURS[0],
    "lite": IDENTITY_COLOURS[1],
    "lightweight": IDENTITY_COLOURS[2],
}
_MARKERS = "osD^vP*X"


def family(name: str) -> str:
    """``full``, ``lite`` or ``lightweight``, by the name of a backbone."""
    return "lite" if name.endswith("_lite") else name if name in FAMILIES else "full"


def residual_block(ax: Axes) -> None:
    """IResNet's block, the first of a stage: the main way above, the shortcut below, no activation
    after the sum.
    """
    layers = ("BN", "3×3", "BN", "PReLU", "3×3, /2", "BN")
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
    ax.text(6.0, -2.25, "only where the size or the width changes; elsewhere the input "
                        "itself", fontsize=8,
            color=INK, ha="center")  # fmt: skip
    ax.set(xlim=(-1.2, 13.6), ylim=(-2.5, 0.9), aspect="equal")
    ax.axis("off")


def shares(
    ax: Axes, rows: Mapping[str, Sequence[float]], parts: Sequence[str], *, title: str = ""
) -> None:
    """What share of a whole each part has, a bar for each row.

    Parameters
    ----------
    ax : where to draw
    rows : for each name the amounts of the parts, in any unit
    parts : what they are called
    title : stands above
    """
    for row, amounts in enumerate(rows.values()):
        percent = 100.0 * np.asarray(amounts) / np.sum(amounts)
        left = np.concatenate([[0.0], np.cumsum(percent)[:-1]])
        for k, (start, width) in enumerate(zip(left, percent, strict=True)):
            shade = IDENTITY_COLOURS[k % len(IDENTITY_COLOURS)]
            ax.barh(row, width, left=start, color=shade, height=0.62, edgecolor=PAPER, lw=0.8,
                    label=parts[k] if row == 0 else None)  # fmt: skip
            if width >= 7.0:
                ax.text(
                    start + width / 2,
                    row,
                    f"{width:.0f}",
                    ha="center",
                    va="center",
                    color=PAPER,
                    fontsize=8,
                )
    ax.set(yticks=range(len(rows)), yticklabels=list(rows), xlim=(0, 100), xlabel="% of the whole")
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.set_title(title)


def costs(ax: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Networks by parameters (10^6) and MACs (10^9), both on logarithmic axes; a family is
    joined by a line.
    """
    for kind, shade in FAMILIES.items():
        own = {name: point for name, point in points.items() if family(name) == kind}
        if own:
            ax.plot(*zip(*own.values(), strict=True), "o-", color=shade, label=kind)
        for name, (x, y) in own.items():
            left = (
                kind == "lite"
            )  # the families overlap: one is labelled on the left, the others on the right
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
    lowest, highest = min(x for x, _ in points.values()), max(x for x, _ in points.values())
    ax.set_xlim(0.75 * lowest, 1.7 * highest)
    _plain(ax.xaxis, (1, 2, 5, 10, 20, 50, 100))
    _plain(ax.yaxis, (0.01, 0.03, 0.1, 0.3, 1, 3, 10))
    ax.legend()


def receptive_fields(
    ax: Axes, fields: Mapping[str, Sequence[float]], places: Sequence[str], size: int
) -> None:
    """Side in pixels of what one number depends on, after each place of a network; the image's
    side dashed.
    """
    for k, (name, values) in enumerate(fields.items()):
        ax.plot(
            range(len(places)), values, f"{_MARKERS[k]}-", color=IDENTITY_COLOURS[k], label=name
        )
    ax.axhline(size, color=INK, lw=0.9, ls=(0, (4, 3)))
    ax.text(-0.1, size * 1.08, f"the image: {size} pixels", fontsize=8, color=INK)
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
    """Time of each network in each way of running it, a row for each network, on a logarithmic
    axis.

    Parameters
    ----------
    ax : where to draw
    ways : by way of running, by network: time in `unit`; a network that a way lacks is left out
    unit : what the times are multiples of
    """
    names = list(dict.fromkeys(name for times in ways.values() for name in times))
    for row, name in enumerate(names):
        own = [times[name] for times in ways.values() if name in times]
        ax.plot([min(own), max(own)], [row, row], color=GRID, lw=2.0, zorder=1)
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
    """Write these numbers out on a logarithmic axis, as far as they lie within it."""
    low, high = sorted(axis.get_view_interval())
    shown = [tick for tick in ticks if low <= tick <= high]
    axis.set_ticks(shown, labels=[f"{tick:g}" for tick in shown])
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
