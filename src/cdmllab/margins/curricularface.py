"""CurricularFace: ArcFace with hard negatives that gain weight during training."""

import torch
from torch import Tensor

from cdmllab.margins.angular import BeyondPi, add_angle
from cdmllab.margins.arcface import ArcFace
from cdmllab.margins.policy import Batch, Gradient, check_range
from cdmllab.margins.registry import register


@register(
    "curricularface",
    year=2020,
    moved_by=("gap", "time"),
    direction="negatives above the margined target count more, the later in training the more",
)
class CurricularFace(ArcFace):
    """cos(theta_y + m) on the target; a negative above it becomes cos_j (t + cos_j).

    The method is of Huang et al., 2020, arXiv 2004.00288_. t is the running mean of the target
    cosine (equation 9) and starts at 0: hard negatives are weakened at first, and strengthened
    later, once t + cos_j exceeds 1. As in the authors' code (metrics.py_), t is updated before the
    batch uses it, the target continues linearly past pi, and the level that a hard negative exceeds
    is the plain cos(theta_y + m).

    Parameters
    ----------
    momentum : weight of the newest batch in t, in [0, 1]; 0 leaves t unchanged
    margin_rad, beyond_pi, easy_margin, gradient : as for ArcFace

    .. _2004.00288: https://arxiv.org/abs/2004.00288
    .. _metrics.py: https://github.com/HuangYG123/CurricularFace/blob/master/head/metrics.py
    """

    t: Tensor

    def __init__(
        self,
        *,
        margin_rad: float = 0.5,
        momentum: float = 0.01,
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(
            margin_rad=margin_rad, beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient
        )
        check_range("momentum", momentum, 0.0, 1.0)
        self.momentum = momentum
        self.register_buffer("t", torch.zeros(()))

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """t <- (1 - momentum) t + momentum mean(cos theta_y)."""
        if len(batch.target_cos):
            self.t.lerp_(batch.target_cos.mean().to(self.t.dtype), self.momentum)

    def negatives(self, cosines: Tensor, batch: Batch) -> Tensor:
        """cos_j (t + cos_j) where cos_j > cos(theta_y + m); shape (b, c) to (b, c)."""
        target = batch.target_cos.detach()
        margin = torch.full_like(target, self.base_margin_rad)
        level = add_angle(target, margin, "none").unsqueeze(1)  # [b, 1]
        return torch.where(cosines > level, cosines * (self.t.to(cosines.dtype) + cosines), cosines)

    def describe(self) -> str:
        return (
            f"{super().describe()}; negatives above it become cos_j (t + cos_j), currently t = "
            f"{float(self.t):.3g}"
        )
