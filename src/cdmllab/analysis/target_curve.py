"""A loss looked at without a head: its target, the slope of that, and how hard it pulls a sample to
its centre.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cdmllab.margins.policy import Batch, MarginPolicy


class TargetCurve(NamedTuple):
    """What a loss makes of n target cosines."""

    target: Tensor  # [n] after the margin
    slope: Tensor  # [n] d(target)/d(cosine), as the loss passes it on to the network


def target_curve(
    policy: MarginPolicy, cosines: Tensor, *, hardest_negative: float = 0.0, progress: float = 0.0
) -> TargetCurve:
    """Target and slope of samples at the given cosines to their own class centre.

    Where the margins of a batch hang together (``match_mean``), the slope is that of all targets'
    sum.

    Parameters
    ----------
    policy : the loss
    cosines : Tensor of shape (n,)
    hardest_negative : cosine to the best foreign centre, the same for all samples
    progress : how much of the training is done, in [0, 1]
    """
    c = cosines.detach().requires_grad_()
    with torch.enable_grad():
        target = policy.margined(c, _batch(c, hardest_negative, progress))
        (slope,) = torch.autograd.grad(target.sum(), c)
    return TargetCurve(target.detach(), slope)


def mixed_derivatives(
    policy: MarginPolicy, cosines: Tensor, *, scale: float
) -> tuple[float, float]:
    """How the gradient that a loss passes on changes: that by the own cosine with another cosine,
    and the reverse.

    A gradient of anything has the two equal. For a margin softmax they are -s^2 p_y p_j and -s^2
    p_y p_j psi'(c_y), so a straight-through gradient, which leaves psi' out of itself and not of
    the probabilities, is no gradient of any function of the cosines.

    Parameters
    ----------
    policy : the loss
    cosines : Tensor of shape (c,) in float64, c of 2 or more: one sample's, the own class first;
        the second is the other one
    scale : s

    Returns
    -------
    dg_y / dc_j and dg_j / dc_y, by central differences.
    """

    def gradient(c: Tensor) -> Tensor:
        c = c.detach().requires_grad_()
        with torch.enable_grad():
            target = policy.margined(c[:1], _batch(c[:1], 0.0, 0.0))
            loss = F.cross_entropy(
                scale * torch.cat([target, c[1:]])[None], torch.zeros(1, dtype=torch.int64)
            )
            return torch.autograd.grad(loss, c)[0]

    step = 1e-5 * torch.eye(len(cosines), dtype=cosines.dtype)
    by_own, by_other = ((gradient(cosines + h) - gradient(cosines - h)) / 2e-5 for h in step[:2])
    return by_other[0].item(), by_own[1].item()


def pull(
    policy: MarginPolicy,
    angle_rad: Tensor,
    *,
    scale: float,
    num_identities: int,
    other_cos: float = 0.0,
) -> Tensor:
    """dL/d(theta): by how much the loss of a sample falls for each radian it comes closer to its
    class centre.

    The other class centres all stand at one cosine, and stay there.

    Parameters
    ----------
    policy : the loss
    angle_rad : Tensor of shape (n,), angles to the own class centre, radians
    scale : s
    num_identities : c
    other_cos : the cosine to each of the c - 1 other class centres

    Returns
    -------
    Tensor of shape (n,); negative where the loss pushes the sample away.
    """
    theta = angle_rad.detach().requires_grad_()
    with torch.enable_grad():
        c = torch.cos(theta)
        target = policy.margined(c, _batch(c, other_cos, 0.0))
        loss = F.softplus(math.log(num_identities - 1) + scale * (other_cos - target))
        (slope,) = torch.autograd.grad(loss.sum(), theta)
    return slope


class Alike(NamedTuple):
    """What a loss makes of n samples that stand at one angle to all class centres."""

    loss: Tensor  # [n]
    # [n] d(loss)/d(theta) with all angles moved together, as the loss passes it on; per radian
    slope: Tensor


def alike(policy: MarginPolicy, angle_rad: Tensor, *, scale: float, num_identities: int) -> Alike:
    """The price of the margin alone: the loss of samples that have the same angle to every class
    centre.

    Nobody is told from anybody there, so what is left of the loss beyond log(num_identities) is the
    margin's doing, and where it slopes it moves all embeddings towards all centres at once, or away
    from them.

    Parameters
    ----------
    policy : the loss
    angle_rad : Tensor of shape (n,), radians
    scale, num_identities : s and c
    """
    theta = angle_rad.detach().requires_grad_()
    with torch.enable_grad():
        c = torch.cos(theta)
        target = policy.margined(c, _batch(c, 0.0, 0.0))
        loss = F.softplus(math.log(num_identities - 1) + scale * (c - target))
        (slope,) = torch.autograd.grad(loss.sum(), theta)
    return Alike(loss.detach(), slope)


def _batch(cosines: Tensor, hardest_negative: float, progress: float) -> Batch:
    n = len(cosines)
    return Batch(
        torch.zeros(n, dtype=torch.int64),
        cosines,
        cosines.new_ones(n),
        progress,
        hardest_negative=cosines.new_full((n,), hardest_negative),
        hard_negative_mean=cosines.new_zeros(n),
    )
