"""A loss without a head: its target, its slope, and the gradient with respect to the angle."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cdmllab.margins.policy import Batch, MarginPolicy


class TargetCurve(NamedTuple):
    """A loss's target and its slope at n target cosines."""

    target: Tensor  # [n] after the margin
    slope: Tensor  # [n] d(target)/d(cosine), as the loss passes it to the network


def target_curve(
    policy: MarginPolicy, cosines: Tensor, *, hardest_negative: float = 0.0, progress: float = 0.0
) -> TargetCurve:
    """Target and slope of samples with the given target cosines.

    If the margins of a batch depend on each other (``match_mean``), the slope is that of the sum of
    all targets.

    Parameters
    ----------
    policy : the loss
    cosines : cosines to the target centre, Tensor of shape (n,)
    hardest_negative : cosine to the hardest negative, the same for all samples
    progress : completed share of the training, in [0, 1]
    """
    c = cosines.detach().requires_grad_()
    with torch.enable_grad():
        target = policy.margined(c, _batch(c, hardest_negative, progress))
        (slope,) = torch.autograd.grad(target.sum(), c)
    return TargetCurve(target.detach(), slope)


def mixed_derivatives(
    policy: MarginPolicy, cosines: Tensor, *, scale: float
) -> tuple[float, float]:
    """The mixed derivatives dg_y / dc_j and dg_j / dc_y of the gradient that a loss passes on.

    g_y and g_j are the gradients with respect to the target cosine c_y and a negative's cosine c_j.
    If g is the gradient of some function, the two derivatives are equal. For a margin softmax with
    the straight-through gradient they are -s^2 p_y p_j and -s^2 p_y p_j psi'(c_y): psi' is missing
    in g_y, but not in the probabilities. The straight-through gradient is therefore not the
    gradient of any function of the cosines.

    Parameters
    ----------
    policy : the loss
    cosines : cosines of one sample, Tensor of shape (c,) in float64 with c at least 2: first that
        of the target, then those of the negatives, the first of which is j
    scale : s

    Returns
    -------
    dg_y / dc_j and dg_j / dc_y, by central differences.
    """

    def gradient(c: Tensor) -> Tensor:
        c = c.detach().requires_grad_()
        with torch.enable_grad():
            target = policy.margined(c[:1], _batch(c[:1], 0.0, 0.0))
            # Class 0 is the positive.
            loss = F.cross_entropy(
                scale * torch.cat([target, c[1:]])[None], torch.zeros(1, dtype=torch.int64)
            )
            return torch.autograd.grad(loss, c)[0]

    # Central differences: a step up and a step down in each of the first two cosines.
    step = 1e-5 * torch.eye(len(cosines), dtype=cosines.dtype)
    by_target, by_negative = (
        (gradient(cosines + h) - gradient(cosines - h)) / 2e-5 for h in step[:2]
    )
    return by_negative[0].item(), by_target[1].item()


def pull(
    policy: MarginPolicy,
    angle_rad: Tensor,
    *,
    scale: float,
    num_identities: int,
    other_cos: float = 0.0,
) -> Tensor:
    """dL/d(theta), the gradient of a loss with respect to the angle to the target centre.

    The negative centres all have the same cosine, which is constant.

    Parameters
    ----------
    policy : the loss
    angle_rad : angles to the target centre, Tensor of shape (n,), radians
    scale : s
    num_identities : c
    other_cos : the cosine to each of the c - 1 negative centres

    Returns
    -------
    Tensor of shape (n,), per radian; positive where a step of descent turns the sample towards its
    target centre, negative where it turns it away.
    """
    theta = angle_rad.detach().requires_grad_()
    with torch.enable_grad():
        c = torch.cos(theta)
        target = policy.margined(c, _batch(c, other_cos, 0.0))
        # c - 1 negatives of one cosine: their log-sum-exp is log(c - 1) + s cos.
        loss = F.softplus(math.log(num_identities - 1) + scale * (other_cos - target))
        (slope,) = torch.autograd.grad(loss.sum(), theta)
    return slope


class EqualAngles(NamedTuple):
    """The loss of n samples that have the same angle to all class centres."""

    loss: Tensor  # [n]
    # [n] d(loss)/d(theta) with all angles changing together, as the loss passes it on; per radian
    slope: Tensor


def equal_angles(
    policy: MarginPolicy, angle_rad: Tensor, *, scale: float, num_identities: int
) -> EqualAngles:
    """The cost of the margin alone: the loss at equal angles to all class centres.

    Such embeddings do not distinguish the identities, so the loss in excess of log(num_identities)
    is due to the margin. Where it has a slope, it moves all embeddings towards all centres at once,
    or away from them.

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
        # The negatives have the target's cosine, but without the margin.
        loss = F.softplus(math.log(num_identities - 1) + scale * (c - target))
        (slope,) = torch.autograd.grad(loss.sum(), theta)
    return EqualAngles(loss.detach(), slope)


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
