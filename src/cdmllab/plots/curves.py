"""Curves over the angle: target logits, decision regions, histograms of pairs."""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from torch import Tensor

from cdmllab.analysis.sphere import chance_density
from cdmllab.analysis.target_curve import target_curve
from cdmllab.margins import MarginPolicy, label
from cdmllab.plots.distributions import densities
from cdmllab.plots.style import GENUINE, IMPOSTOR, INK, colour


def target_logits(ax: Axes, policies: Mapping[str, MarginPolicy], scale: float = 1.0) -> None:
    """The target logit of each loss against the angle to the own class centre.

    Parameters
    ----------
    ax : where to draw
    policies : losses by the name that gives them their colour and label
    scale : s; 1 draws the margined cosine itself
    """
    theta, cosines = _angles()
    for name, policy in policies.items():
        ax.plot(
            torch.rad2deg(theta).numpy(),
            scale * _target(policy, cosines).numpy(),
            color=colour(name),
            label=label(name),
        )
    _angle_axis(ax)
    ax.set_ylabel("target logit" if scale != 1.0 else "target logit / s")
    ax.legend()


def margin_costs(ax: Axes, policies: Mapping[str, MarginPolicy]) -> None:
    """What each loss takes from the cosine, cos(theta) - psi(theta); arguments as for
    `target_logits`.
    """
    theta, cosines = _angles()
    for name, policy in policies.items():
        ax.plot(
            torch.rad2deg(theta).numpy(),
            (cosines - _target(policy, cosines)).numpy(),
            color=colour(name),
            label=label(name),
        )
    _angle_axis(ax)
    ax.set_ylabel("taken from the cosine")


def decision_regions(ax: Axes, policy: MarginPolicy, *, name: str, first: bool = True) -> None:
    """Where a training sample of class 1 or of class 2 is satisfied, in the plane of their two
    angles.

    Parameters
    ----------
    ax : where to draw
    policy : the loss
    name : gives the colour and the title
    first : whether to label the vertical axis
    """
    theta, cosines = _angles(stop=torch.pi / 2)
    degrees = torch.rad2deg(theta).numpy()
    margined = _target(policy, cosines).numpy()
    # A class-1 sample at (theta_1, theta_2) is satisfied while psi(theta_1) >= cos(theta_2).
    edge = np.degrees(np.arccos(np.clip(margined, -1.0, 1.0)))
    ax.fill_between(degrees, edge, 180.0, color=colour(name), alpha=0.35, lw=0)
    ax.fill_betweenx(degrees, edge, 180.0, color=colour(name), alpha=0.6, lw=0)
    ax.plot(degrees, degrees, color=INK, lw=0.8, ls=(0, (3, 3)))
    ax.text(20, 68, "1", color=INK, ha="center", va="center", fontsize=11)
    ax.text(68, 20, "2", color=INK, ha="center", va="center", fontsize=11)
    ax.set(xlim=(0, 90), ylim=(0, 90), aspect="equal", xticks=(0, 45, 90), yticks=(0, 45, 90))
    ax.set_xlabel("θ₁ (degrees)")
    ax.set_ylabel("θ₂ (degrees)" if first else "")
    ax.set_title(label(name))
    ax.grid(visible=False)


def _angles(stop: float = torch.pi, points: int = 721) -> tuple[Tensor, Tensor]:
    theta = torch.linspace(0.0, stop, points, dtype=torch.float64)
    return theta, torch.cos(theta)


def _target(policy: MarginPolicy, cosines: Tensor) -> Tensor:
    """The margined cosine of samples that have all other classes at 90 degrees."""
    return target_curve(policy, cosines).target


def _angle_axis(ax: Axes) -> None:
    ax.set(
        xlabel="angle θ to the own class centre (degrees)", xlim=(0, 180), xticks=range(0, 181, 30)
    )


def angle_histogram(
    ax: Axes,
    scores: ArrayLike,
    same: ArrayLike,
    *,
    bins: int = 60,
    chance_dim: int | None = None,
    title: str = "",
    legend: bool = True,
) -> None:
    """Angles between the two images of genuine and of impostor pairs, as densities.

    Parameters
    ----------
    ax : where to draw
    scores : cosines, shape (p,)
    same : True for genuine pairs, shape (p,)
    bins : over 0 to 180 degrees
    chance_dim : draw the density of random directions in so many dimensions, dashed; None draws
        none
    legend : whether to say which is which
    title : stands above
    """
    degrees = np.degrees(np.arccos(np.clip(np.asarray(scores, dtype=np.float64), -1.0, 1.0)))
    is_same = np.asarray(same, dtype=bool)
    edges = np.linspace(0.0, 180.0, bins + 1)
    kinds = {"genuine": (is_same, GENUINE), "impostor": (~is_same, IMPOSTOR)}
    densities(ax, degrees, kinds, edges, alpha=0.35)
    if chance_dim is not None:
        ax.plot(
            edges,
            chance_density(edges, chance_dim),
            color=INK,
            lw=1.0,
            ls=(0, (3, 2)),
            label="chance",
        )
    ax.set(xlabel="angle of the pair (degrees)", xlim=(0, 180), xticks=range(0, 181, 45), yticks=[])
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.set_title(title)
    if legend:
        ax.legend()
