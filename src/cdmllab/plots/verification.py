"""Verification and identification: ROC, score histograms, CMC and reliability curves."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from cdmllab.margins import label
from cdmllab.metrics import ranked
from cdmllab.metrics.calibration import Reliability
from cdmllab.plots.distributions import densities
from cdmllab.plots.style import GENUINE, IMPOSTOR, INK, colour


def roc_curve(ax: Axes, scores: ArrayLike, same: ArrayLike, *, name: str) -> None:
    """Plot TAR against FAR on a logarithmic axis; `name` determines colour and label.

    A curve ends at the FAR of a single impostor pair, below which the pairs cannot resolve it.
    Several curves can share the axes, which then extend to the lowest of their ends.
    """
    by_kind = ranked.rank(scores, same)
    far, tar = ranked.corners(by_kind)
    finest = 1.0 / len(by_kind.impostor)
    # The last corner with at most one impostor pair; the factor allows for rounding.
    end = int(np.searchsorted(far, finest * (1.0 + 1e-12), side="right")) - 1
    # Start at the finest FAR with the TAR reached there, and keep the corners above it.
    far, tar = np.append(finest, far[end + 1 :]), np.append(tar[end], tar[end + 1 :])
    left = min(finest, ax.get_xlim()[0]) if ax.lines else finest
    ax.step(far, tar, where="post", color=colour(name), label=label(name))
    ax.set(xscale="log", xlim=(left, 1.0), ylim=(0.0, 1.02), xlabel="FAR")
    ax.set_ylabel("TAR")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))


def score_histogram(
    ax: Axes,
    scores: ArrayLike,
    same: ArrayLike,
    *,
    threshold: float | None = None,
    bins: int = 80,
    title: str = "",
) -> None:
    """Plot the densities of the cosines of genuine and of impostor pairs, with errors filled.

    Parameters
    ----------
    ax : axes to draw on
    scores : cosines, shape (p,)
    same : True for genuine pairs, shape (p,)
    threshold : lowest accepted score, drawn as a line; None draws none
    bins : number of bins over the range of the scores
    title : title of the axes
    """
    s, y = ranked.check(scores, same)
    edges = np.histogram_bin_edges(s, bins)
    if threshold is not None:  # a bin has to end at the threshold, where the filling ends
        edges = np.sort(np.append(edges, threshold)) if s.min() < threshold < s.max() else edges
    kinds = {"genuine": (y, GENUINE), "impostor": (~y, IMPOSTOR)}
    densities(ax, s, kinds, edges)
    if threshold is not None:
        accepted = edges[:-1] >= threshold
        # Genuine pairs that are rejected and impostor pairs that are accepted are errors.
        for (rows, shade), wrong in zip(kinds.values(), (~accepted, accepted), strict=True):
            density, _ = np.histogram(s[rows], edges, density=True)
            ax.stairs(np.where(wrong, density, 0.0), edges, fill=True, color=shade, alpha=0.85)
    ax.set_ylim(0.0, 1.1 * ax.get_ylim()[1])  # room for the label of the threshold
    if threshold is not None:
        ax.axvline(threshold, color=INK, lw=1.0, ls=(0, (4, 3)))
        ax.annotate(
            f"{threshold:.3f}",
            (threshold, 1.0),
            (3, -2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
            color=INK,
            fontsize=8.5,
        )
    ax.set(xlabel="cosine of the pair", yticks=[], title=title)
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, 0.92))


def cmc_curve(ax: Axes, rates: ArrayLike, *, name: str) -> None:
    """Plot rank-k identification rates, shape (ranks,); `name` determines colour and label."""
    r = np.asarray(rates, dtype=np.float64)
    ax.plot(np.arange(1, len(r) + 1), r, color=colour(name), label=label(name), marker="o", ms=3.5)
    low = min(float(r.min()), ax.get_ylim()[0] if len(ax.lines) > 1 else 1.0)
    ax.set(xlabel="rank", xlim=(0.5, len(r) + 0.5), ylim=(max(0.0, low - 0.04), 1.01))
    ax.set_ylabel("identification rate")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def reliability_curve(ax: Axes, reliability: Reliability, *, name: str) -> None:
    """Plot observed against predicted probability with intervals; the diagonal is perfect."""
    if not ax.lines:  # once per axes
        ax.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=(0, (3, 3)))
    gaps = [reliability.observed - reliability.low, reliability.high - reliability.observed]
    ax.errorbar(
        reliability.stated,
        reliability.observed,
        gaps,
        color=colour(name),
        label=label(name),
        marker="o",
        ms=4,
        lw=1.4,
    )
    ax.set(xlabel="predicted probability", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    ax.set_ylabel("share of genuine pairs")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
        axis.set_ticks([0.0, 0.25, 0.5, 0.75, 1.0])
