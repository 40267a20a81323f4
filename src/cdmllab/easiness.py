"""Easiness of samples as a signed score in [-1, 1], and its running mean per identity.

+1 is the easiest possible sample, -1 the hardest, and 0 is neutral. The scores differ in whether
they use the target centre only or the hardest negative as well, the negative centre with the
largest cosine. All are computed from cosines alone, so any margin head can use them.
"""

import math

import torch
from torch import Tensor, nn

from cdmllab.geometry import angle

KINDS = ("similarity", "gap", "angle_gap")


def easiness_from_similarity(target_cos: Tensor) -> Tensor:
    """The cosine to the target centre, unchanged; shape (b,) to (b,).

    This is the score of DATN's page, "similarity to class center", where high means easy.
    """
    return target_cos.clamp(-1.0, 1.0)


def easiness_from_gap(target_cos: Tensor, hardest_negative: Tensor) -> Tensor:
    """Half the target's lead over the hardest negative, e = (cos_y - max_{j != y} cos_j) / 2.

    Shapes (b,), (b,) to (b,). DATN's code uses the hardness h = 1 - (cos_y - max_{j != y} cos_j),
    in [-1, 3], which is 1 - 2 e.
    """
    return ((target_cos - hardest_negative) / 2.0).clamp(-1.0, 1.0)


def easiness_from_angle_gap(target_cos: Tensor, hardest_negative: Tensor) -> Tensor:
    """The lead in angles, e = (theta_neg - theta_y - pi/3) / (pi/6), clipped to [-1, 1].

    Shapes (b,), (b,) to (b,). The score is +1 if the hardest negative is at least 90 degrees
    further away than the target centre, and -1 if it is at most 30 degrees further away. DATN's
    code uses the hardness h = clip(pi/2 - (theta_neg - theta_y), 0, pi/3), which is (1 - e) pi/6.
    """
    lead = angle(hardest_negative) - angle(target_cos)  # radians
    return ((lead - math.pi / 3.0) / (math.pi / 6.0)).clamp(-1.0, 1.0)


def recentre(easiness: Tensor, pivot: float) -> Tensor:
    """Move the neutral point of a score from 0 to `pivot`, keeping the ends.

    The map is piecewise linear: -1, pivot and 1 become -1, 0 and 1.

    Parameters
    ----------
    easiness : Tensor of any shape, in [-1, 1]
    pivot : the score that counts as neither easy nor hard, in (-1, 1); 0 changes nothing

    Raises
    ------
    ValueError : `pivot` is out of range
    """
    if not -1.0 < pivot < 1.0:
        raise ValueError(f"pivot must lie strictly between -1 and 1, got {pivot}")
    if pivot == 0.0:
        return easiness
    # Each side is stretched by a factor of its own, so that -1 and 1 stay.
    above = easiness - pivot
    return torch.where(above >= 0.0, above / (1.0 - pivot), above / (1.0 + pivot))


class ClassEasiness(nn.Module):
    """A running mean of easiness for every identity.

    The state is one buffer of shape (num_identities,), with 0 (neutral) for identities that have
    not been seen yet.

    Parameters
    ----------
    num_identities : number of identities
    momentum : weight of the newest batch, in (0, 1]

    Raises
    ------
    ValueError : `momentum` is out of range
    """

    mean: Tensor

    def __init__(self, num_identities: int, momentum: float = 0.1) -> None:
        super().__init__()
        if not 0.0 < momentum <= 1.0:
            raise ValueError(f"momentum must lie in (0, 1], got {momentum}")
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(num_identities))

    @torch.no_grad()
    def update(self, labels: Tensor, easiness: Tensor) -> None:
        """Update with one batch: labels of shape (b,), easiness of shape (b,).

        An identity with several samples in the batch is updated once, with their mean.
        """
        identities, position = labels.unique(return_inverse=True)
        # The mean over the samples of each of the u identities in the batch, [u].
        total = torch.zeros(len(identities), dtype=self.mean.dtype, device=self.mean.device)
        total.index_add_(0, position, easiness.to(self.mean.dtype))
        batch_mean = total / torch.bincount(position, minlength=len(identities))
        self.mean[identities] = torch.lerp(self.mean[identities], batch_mean, self.momentum)

    def forward(self, labels: Tensor) -> Tensor:
        """The running easiness of each sample's identity; shape (b,) to (b,)."""
        return self.mean[labels]
