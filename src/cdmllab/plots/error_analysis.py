"""Error analysis: sheets of the worst pairs, and error rates against a nuisance."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from cdmllab.margins import label
from cdmllab.metrics.error_rates import Binned
from cdmllab.plots.images import coloured, sheet
from cdmllab.plots.style import INK, colour


def error_sheet(
    ax: Axes,
    first: ArrayLike,
    second: ArrayLike,
    scores: ArrayLike,
    *,
    columns: int = 4,
    title: str = "",
) -> None:
    """Draw pairs of images side by side, with the score of each pair below.

    Parameters
    ----------
    ax : axes to draw on; the frame is removed
    first, second : images in [-1, 1], shape (n, channels, height, width), with 1 channel (drawn as
        ink) or 3
    scores : cosine of each pair, shape (n,)
    columns : pairs per row
    title : title of the axes

    Raises
    ------
    ValueError : no pairs, or shapes that do not fit together
    """
    a, b, s = (np.asarray(x, dtype=np.float64) for x in (first, second, scores))
    if a.shape != b.shape or a.ndim != 4 or s.shape != (len(a),):
        raise ValueError(
            f"first and second must have shape (n, c, h, w) and scores (n,), got {a.shape}, "
            f"{b.shape} and {s.shape}"
        )
    if len(a) == 0:
        raise ValueError("there are no pairs to draw: first, second and scores are empty")
    # Both images of a pair side by side with a column of NaN, which is transparent, in between.
    n, channels, height, width = a.shape
    both = np.full((n, channels, height, 2 * width + 1), np.nan)
    both[..., :width], both[..., width + 1 :] = a, b
    gap = max(5, round(0.22 * height))  # room for the score, also below the smallest images
    page = sheet(both, columns, gap)
    rows = -(-n // columns)
    page = np.concatenate([page, np.full((gap, *page.shape[1:]), np.nan)])
    ax.imshow(coloured(page), cmap="gray_r", vmin=-1.0, vmax=1.0, interpolation="nearest")
    step_y, step_x = height + gap, 2 * width + 1 + gap
    for k, score in enumerate(s):
        # The middle of the pair, in the gap.
        x, y = k % columns * step_x + width, k // columns * step_y + height + 0.45 * gap
        ax.text(x, y, f"{score:.2f}", color=INK, ha="center", va="center", fontsize=8)
    ax.set(xlim=(-0.5, min(n, columns) * step_x), ylim=(rows * step_y - 0.5, -0.5))
    ax.axis("off")
    ax.set_title(title)


def error_rates(ax: Axes, binned: Binned, *, name: str, nuisance: str) -> None:
    """Plot the error rate in each bin of a nuisance, with its interval.

    Parameters
    ----------
    ax : axes to draw on, which several kinds of pairs or losses can share
    binned : see `cdmllab.metrics.error_rates.by_nuisance`
    name : determines colour and label
    nuisance : label of the horizontal axis, with its unit
    """
    middle = (binned.edges[:-1] + binned.edges[1:]) / 2.0
    full = binned.pairs > 0  # an empty bin has no rate
    ax.fill_between(
        middle[full], binned.low[full], binned.high[full], color=colour(name), alpha=0.2, lw=0
    )
    ax.plot(
        middle[full], binned.rate[full], color=colour(name), label=label(name), marker="o", ms=4
    )
    # Axes that are shared keep the largest limit so far.
    top = max(float(binned.high[full].max()), 0.0 if len(ax.lines) == 1 else ax.get_ylim()[1])
    ax.set(
        xlabel=nuisance,
        xlim=(binned.edges[0], binned.edges[-1]),
        ylim=(0.0, min(1.02, max(top, 0.01) + 0.01)),
    )
    ax.set_ylabel("error rate")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
