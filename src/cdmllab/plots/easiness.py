"""Easiness in the plane of two angles, over the epochs of a training, and against the truth."""

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

# From hard to easy, through a neutral colour close to that of the page.
EASINESS = LinearSegmentedColormap.from_list("easiness", ["#7a4fb5", "#e9e6ee", "#2a9d7f"])
RIGHT, WRONG = COLOURS["cosface"], "#b5485d"


def easiness_map(
    ax: Axes, kind: str, *, pivot: float = 0.0, title: str = "", first: bool = True
) -> AxesImage:
    """Map an easiness score over the angles to the target centre and to the hardest negative.

    Parameters
    ----------
    ax : axes to draw on
    kind : ``"similarity"``, ``"gap"`` or ``"angle_gap"``, see `cdmllab.easiness`
    pivot : the score that counts as neither easy nor hard, marked by a dashed line
    title : title of the axes
    first : whether to label the vertical axis

    Returns
    -------
    The image, for a colour bar from -1 (hard) to 1 (easy).
    """
    target, negative = torch.meshgrid(
        torch.linspace(0, 120, 121), torch.linspace(0, 120, 121), indexing="xy"
    )
    cosines = [torch.cos(torch.deg2rad(angles.double())) for angles in (target, negative)]
    # The similarity ignores the negative's cosine; the gaps use both.
    score = {
        "similarity": lambda c, _: easiness_from_similarity(c),
        "gap": easiness_from_gap,
        "angle_gap": easiness_from_angle_gap,
    }[kind](*cosines)
    e = recentre(score, pivot).numpy()
    image = ax.imshow(
        e, cmap=EASINESS, vmin=-1, vmax=1, origin="lower", extent=(0, 120, 0, 120), aspect="equal"
    )
    # The line on which the score equals the pivot.
    ax.contour(
        target.numpy(),
        negative.numpy(),
        e,
        levels=[0.0],
        colors=[INK],
        linewidths=1.2,
        linestyles="--",
    )
    ax.set(xlabel="angle to the target (degrees)", xticks=range(0, 121, 30))
    ax.set(yticks=range(0, 121, 30))
    ax.set_ylabel("angle to the hardest negative (degrees)" if first else "")
    ax.set_title(title)
    ax.grid(visible=False)
    return image


def sample_paths(
    ax: Axes,
    x: ArrayLike,
    values: ArrayLike,
    groups: Mapping[str, ArrayLike],
    *,
    per_group: int = 30,
    ylabel: str = "",
) -> None:
    """Plot single samples over the epochs as thin lines, and the groups' medians as thick ones.

    Parameters
    ----------
    ax : axes to draw on
    x : epochs, shape (t,)
    values : shape (t, n), one column per sample
    groups : the columns of up to two groups, by label
    per_group : number of thin lines per group, evenly spaced among its samples
    ylabel : quantity and unit of the values
    """
    times, all_values = np.asarray(x), np.asarray(values)
    for (name, columns), shade in zip(groups.items(), (RIGHT, WRONG), strict=False):
        chosen = all_values[:, np.asarray(columns)]
        # Evenly spaced samples; `unique` drops repetitions in small groups.
        few = np.unique(np.linspace(0, chosen.shape[1] - 1, per_group).astype(int))
        ax.plot(times, chosen[:, few], color=shade, lw=0.6, alpha=0.35)
        # A halo in the page's colour.
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
    """Plot the easiness of images against their known difficulty, with wrong labels highlighted.

    Parameters
    ----------
    ax : axes to draw on
    easiness, difficulty : shape (n,)
    wrong : mask of the images with a wrong label, shape (n,)
    """
    against_difficulty(ax, difficulty, easiness, wrong, alpha=0.55)
    ax.set_ylabel("easiness")
    # Above the axes, because the dots may be anywhere inside.
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def against_difficulty(
    ax: Axes, difficulty: ArrayLike, values: ArrayLike, wrong: ArrayLike, *, alpha: float
) -> None:
    """Plot values of images against their difficulty, with wrong labels highlighted; (n,)."""
    d, v, w = np.asarray(difficulty), np.asarray(values), np.asarray(wrong, dtype=bool)
    ax.plot(
        d[~w],
        v[~w],
        ".",
        color=RIGHT,
        markersize=3,
        alpha=alpha,
        rasterized=True,  # thousands of dots as an image
        label="correct label",
    )
    ax.plot(d[w], v[w], "o", color=WRONG, markersize=3.5, label="wrong label")
    ax.set_xlabel("known difficulty (cosine lost)")


def by_label(ax: Axes, easiness: ArrayLike, wrong: ArrayLike, bins: int = 40) -> None:
    """Plot the densities of easiness for correctly and wrongly labelled images; shapes (n,)."""
    e, w = np.asarray(easiness), np.asarray(wrong, dtype=bool)
    kinds = {"correct label": (~w, RIGHT), "wrong label": (w, WRONG)}
    densities(ax, e, kinds, np.linspace(e.min(), e.max(), bins + 1), alpha=0.5)
    ax.set(xlabel="easiness", ylabel="density")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def colour_bar(ax: Axes, image: AxesImage) -> None:
    """Add a colour bar to an easiness map."""
    bar = ax.figure.colorbar(image, ax=ax, ticks=[-1, 0, 1], shrink=0.8)
    bar.set_ticklabels(["hard", "0", "easy"])
    bar.outline.set_edgecolor(INK)
