"""The gradients of losses over pairs and triplets of embeddings, next to those of a softmax."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cdmllab.analysis.target_curve import target_curve
from cdmllab.geometry import unit
from cdmllab.margins import MarginPolicy
from cdmllab.margins.policy import check_choice

PairLoss = Literal["triplet", "contrastive"]


class Forces(NamedTuple):
    """The gradient of the loss of n samples; each of shape (n,), per radian."""

    pull: Tensor  # d(loss)/d(theta_p), towards the positive
    push: Tensor  # -d(loss)/d(theta_n), away from the nearest negative


def of_pairs(
    loss: PairLoss,
    positive_rad: Tensor,
    negative_rad: Tensor,
    *,
    margin: float | None = None,
) -> Forces:
    """The forces of one triplet, or of one positive and one negative pair, of unit embeddings.

    With the distance d = 2 sin(theta / 2) the triplet loss is max(0, d_p - d_n + m), and the
    contrastive loss is d_p + max(0, m - d_n).

    Parameters
    ----------
    loss : ``"triplet"`` (Schroff et al., 2015) or ``"contrastive"`` (Hadsell et al., 2006)
    positive_rad, negative_rad : angles to the two partners, shape (n,)
    margin : m, a distance; None is that of `cdmllab.heads.pair_losses`, 0.35 or 1
    """
    check_choice("loss", loss, ("triplet", "contrastive"))
    m = margin if margin is not None else {"triplet": 0.35, "contrastive": 1.0}[loss]
    p, n = (angle.detach().double().requires_grad_() for angle in (positive_rad, negative_rad))
    with torch.enable_grad():
        near, far = 2.0 * torch.sin(p / 2.0), 2.0 * torch.sin(n / 2.0)
        if loss == "triplet":
            value = (near - far + m).clamp_min(0.0)
        else:
            value = near + (m - far).clamp_min(0.0)
        pull, slope = torch.autograd.grad(value.sum(), (p, n))
    return Forces(pull, -slope)


def of_softmax(
    policy: MarginPolicy,
    positive_rad: Tensor,
    negative_rad: Tensor,
    *,
    scale: float,
    num_identities: int,
) -> Forces:
    """The forces of a margin softmax whose other num_identities - 2 centres are at 90 degrees.

    Parameters
    ----------
    policy : the loss; it leaves the negatives as they are
    positive_rad, negative_rad : angles to the target centre and to the nearest other, shape (n,)
    scale, num_identities : s and c
    """
    own, other = positive_rad.detach().double(), negative_rad.detach().double()
    curve = target_curve(policy, torch.cos(own))
    rest = torch.full_like(own, math.log(num_identities - 2) if num_identities > 2 else -math.inf)
    logits = torch.stack([scale * curve.target, scale * torch.cos(other), rest], dim=1)
    p = torch.softmax(logits, dim=1)
    pull = scale * (1.0 - p[:, 0]) * curve.slope * torch.sin(own)
    return Forces(pull, scale * p[:, 1] * torch.sin(other))


def active_triplets(embeddings: Tensor, labels: Tensor, *, margin: float = 0.35) -> float:
    """The share of a batch's triplets whose loss, and so whose gradient, is not zero.

    Parameters
    ----------
    embeddings : Tensor of shape (b, d), of any lengths
    labels : Tensor of shape (b,)
    margin : m, a distance of unit embeddings

    Raises
    ------
    ValueError : the batch has no triplet
    """
    x = unit(embeddings.detach().double())
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(len(x), dtype=torch.bool)
    active = total = 0
    for row, pairs, others in zip(distance, positive, ~same, strict=True):
        gaps = row[pairs][:, None] - row[others][None, :] + margin
        active, total = active + int((gaps > 0.0).sum()), total + gaps.numel()
    if not total:
        raise ValueError("the batch has no triplet: it needs two samples of one identity and a "
                         "sample of another")  # fmt: skip
    return active / total


def mean_weight(
    policy: MarginPolicy, embeddings: Tensor, labels: Tensor, centres: Tensor, *, scale: float
) -> float:
    """The mean weight 1 - p_y that a margin softmax over all centres gives the samples of a batch.

    Parameters
    ----------
    policy : the loss; it leaves the negatives as they are
    embeddings, centres : of unit length, (b, d) and (c, d)
    labels : Tensor of shape (b,)
    scale : s
    """
    cosines = embeddings @ centres.T
    rows = torch.arange(len(labels))
    target = target_curve(policy, cosines[rows, labels]).target
    logits = scale * cosines.index_put((rows, labels), target)
    return float(1.0 - torch.softmax(logits, dim=1)[rows, labels].mean())


def around_centres(
    angle_deg: float, *, identities: int, of: int, each: int, dim: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Random embeddings at one angle to random class centres.

    Parameters
    ----------
    angle_deg : degrees
    identities : number of centres
    of, each : how many identities, the first ones, have samples, and how many each
    dim, seed : dimensions of the embeddings, and seed of the random numbers

    Returns
    -------
    Embeddings of shape (of * each, dim), their labels, and the centres, (identities, dim); all of
    unit length.
    """
    generator = torch.Generator().manual_seed(seed)
    centres = unit(torch.randn(identities, dim, generator=generator, dtype=torch.float64))
    labels = torch.arange(of).repeat_interleave(each)
    noise = torch.randn(len(labels), dim, generator=generator, dtype=torch.float64)
    own = centres[labels]
    aside = unit(noise - (noise * own).sum(dim=1, keepdim=True) * own)
    angle = math.radians(angle_deg)
    return math.cos(angle) * own + math.sin(angle) * aside, labels, centres
