"""Curves over the angle: target logits, decision regions and histograms of pairs."""

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
    """Plot the target logit of each loss against the angle to the target centre.

    Parameters
    ----------
    ax : axes to draw on
    policies : losses by the name that determines their colour and label
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
    """Plot how much each loss subtracts from the cosine, cos(theta) - psi(theta).

    The arguments are as for `target_logits`.
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
    ax.set_ylabel("subtracted from the cosine")


def decision_regions(ax: Axes, policy: MarginPolicy, *, name: str, first: bool = True) -> None:
    """Shade where a training sample of class 1 or 2 is satisfied, in the plane of its angles.

    Parameters
    ----------
    ax : axes to draw on
    policy : the loss
    name : determines the colour and the title
    first : whether to label the vertical axis
    """
    theta, cosines = _angles(stop=torch.pi / 2)
    degrees = torch.rad2deg(theta).numpy()
    margined = _target(policy, cosines).numpy()  # psi(theta_1)
    # A sample of class 1 at (theta_1, theta_2) is satisfied if psi(theta_1) >= cos(theta_2).
    edge = np.degrees(np.arccos(np.clip(margined, -1.0, 1.0)))
    # Above the edge class 1 is satisfied; mirrored at the diagonal, class 2.
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
    # A point each quarter degree up to pi.
    theta = torch.linspace(0.0, stop, points, dtype=torch.float64)
    return theta, torch.cos(theta)


def _target(policy: MarginPolicy, cosines: Tensor) -> Tensor:
    """The margined cosine of samples whose negative centres are all at 90 degrees."""
    return target_curve(policy, cosines).target


def _angle_axis(ax: Axes) -> None:
    ax.set(xlabel="angle θ to the target centre (degrees)", xlim=(0, 180), xticks=range(0, 181, 30))


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
    """Plot the densities of the angles of genuine and of impostor pairs.

    Parameters
    ----------
    ax : axes to draw on
    scores : cosines, shape (p,)
    same : True for genuine pairs, shape (p,)
    bins : number of bins over 0 to 180 degrees
    chance_dim : number of dimensions for the density of random directions, drawn dashed; None
        draws none
    title : title of the axes
    legend : whether to draw a legend
    """
    degrees = np.degrees(np.arccos(np.clip(np.asarray(scores, dtype=np.float64), -1.0, 1.0)))
    is_same = np.asarray(same, dtype=bool)
    edges = np.linspace(0.0, 180.0, bins + 1)  # degrees
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
    ax.set(
        xlabel="angle between the images of a pair (degrees)",
        xlim=(0, 180),
        xticks=range(0, 181, 45),
        yticks=[],  # only the shapes of densities are compared
    )
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.set_title(title)
    if legend:
        ax.legend()
