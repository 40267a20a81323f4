"""Easiness over the plane of two angles, and what became of samples during a training."""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from cdmllab.easiness import (
    easiness_from_angle_gap,
    easiness_from_gap,
    easiness_from_similarity,
    recentre,
)
from cdmllab.plots.distributions import densities
from cdmllab.plots.style import COLOURS, INK, PAPER

# Hard to easy, through the page's own colour.
EASINESS = LinearSegmentedColormap.from_list("easiness", ["#7a4fb5", "#e9e6ee", "#2a9d7f"])
RIGHT, WRONG = COLOURS["cosface"], "#b5485d"


def easiness_map(
    ax: Axes, kind: str, *, pivot: float = 0.0, title: str = "", first: bool = True
) -> AxesImage:
    """An easiness score for every angle to the own class centre and to the best foreign one.

    Parameters
    ----------
    ax : where to draw
    kind : ``"similarity"``, ``"gap"`` or ``"angle_gap"``, see `cdmllab.easiness`
    pivot : the score that counts as neither easy nor hard; a line is drawn there
    title : stands above
    first : whether to label the vertical axis

    Returns
    -------
    The image, for a colour bar from -1 (hard) to 1 (easy).
    """
    own, foreign = torch.meshgrid(
        torch.linspace(0, 120, 121), torch.linspace(0, 120, 121), indexing="xy"
    )
    cosines = [torch.cos(torch.deg2rad(angles.double())) for angles in (own, foreign)]
    score = {
        "similarity": lambda c, _: easiness_from_similarity(c),
        "gap": easiness_from_gap,
        "angle_gap": easiness_from_angle_gap,
    }[kind](*cosines)
    e = recentre(score, pivot).numpy()
    shown = ax.imshow(
        e, cmap=EASINESS, vmin=-1, vmax=1, origin="lower", extent=(0, 120, 0, 120), aspect="equal"
    )
    ax.contour(
        own.numpy(), foreign.numpy(), e, levels=[0.0], colors=[INK], linewidths=1.2, linestyles="--"
    )
    ax.set(xlabel="own angle (degrees)", xticks=range(0, 121, 30), yticks=range(0, 121, 30))
    ax.set_ylabel("best foreign angle (degrees)" if first else "")
    ax.set_title(title)
    ax.grid(visible=False)
    return shown


def sample_paths(
    ax: Axes,
    x: ArrayLike,
    values: ArrayLike,
    groups: Mapping[str, ArrayLike],
    *,
    shown: int = 30,
    ylabel: str = "",
) -> None:
    """What became of single samples: some of each group as thin lines, the group's median as a
    thick one.

    Parameters
    ----------
    ax : where to draw
    x : epochs, shape (t,)
    values : shape (t, n), one column a sample
    groups : up to two, by label: the columns that belong to it
    shown : thin lines a group, evenly drawn from it
    ylabel : what the values are, with unit
    """
    times, all_values = np.asarray(x), np.asarray(values)
    for (name, columns), shade in zip(groups.items(), (RIGHT, WRONG), strict=False):
        chosen = all_values[:, np.asarray(columns)]
        few = np.unique(np.linspace(0, chosen.shape[1] - 1, shown).astype(int))
        ax.plot(times, chosen[:, few], color=shade, lw=0.6, alpha=0.35)
        ax.plot(times, np.median(chosen, axis=1), color=PAPER, lw=4.2)
        ax.plot(
            times,
            np.median(chosen, axis=1),
            color=shade,
            lw=2.4,
            label=f"{name} ({chosen.shape[1]})",
        )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch", ylabel=ylabel, xlim=(times[0], times[-1]))
    ax.legend()


def guess_against_truth(
    ax: Axes, easiness: ArrayLike, difficulty: ArrayLike, wrong: ArrayLike
) -> None:
    """A score's easiness against the known difficulty, a dot for each image; wrong labels stand
    out.

    Parameters
    ----------
    ax : where to draw
    easiness, difficulty : shape (n,)
    wrong : which images carry a wrong label, shape (n,)
    """
    against_difficulty(ax, difficulty, easiness, wrong, alpha=0.55)
    ax.set_ylabel("easiness")
    ax.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2
    )  # above: the dots may lie anywhere


def against_difficulty(
    ax: Axes, difficulty: ArrayLike, values: ArrayLike, wrong: ArrayLike, *, alpha: float
) -> None:
    """Values of single images against their known difficulty, a dot for each; shapes (n,). Wrong
    labels stand out.
    """
    d, v, w = np.asarray(difficulty), np.asarray(values), np.asarray(wrong, dtype=bool)
    ax.plot(
        d[~w],
        v[~w],
        ".",
        color=RIGHT,
        markersize=3,
        alpha=alpha,
        rasterized=True,
        label="right label",
    )
    ax.plot(d[w], v[w], "o", color=WRONG, markersize=3.5, label="wrong label")
    ax.set_xlabel("known difficulty (cosine lost)")


def by_label(ax: Axes, easiness: ArrayLike, wrong: ArrayLike, bins: int = 40) -> None:
    """How easiness is spread over rightly and over wrongly labelled images, as densities; shapes
    (n,).
    """
    e, w = np.asarray(easiness), np.asarray(wrong, dtype=bool)
    kinds = {"right label": (~w, RIGHT), "wrong label": (w, WRONG)}
    densities(ax, e, kinds, np.linspace(e.min(), e.max(), bins + 1), alpha=0.5)
    ax.set(xlabel="easiness", ylabel="density")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def colour_bar(ax: Axes, image: AxesImage) -> None:
    """The scale of an easiness map, beside it."""
    bar = ax.figure.colorbar(image, ax=ax, ticks=[-1, 0, 1], shrink=0.8)
    bar.set_ticklabels(["hard", "0", "easy"])
    bar.outline.set_edgecolor(INK)
