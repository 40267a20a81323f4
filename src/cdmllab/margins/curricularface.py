"""CurricularFace: ArcFace whose hard negatives grow as training goes on."""

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
    """cos(theta + m) on the target; cos_j (t + cos_j) for negatives above it (Huang et al., 2020,
    arXiv 2004.00288_).

    t is the running mean of the target cosine (equation 9), 0 at the start: hard negatives count
    little at first and more than they are in the end.

    Parameters
    ----------
    momentum : weight of the newest batch in t, in [0, 1]; 0 keeps t where it is
    margin_rad, beyond_pi, easy_margin, gradient : as for ArcFace

    .. _2004.00288: https://arxiv.org/abs/2004.00288
    """

    changes_negatives = True
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
        """t <- (1 - momentum) t + momentum mean(cos theta_y), before the batch uses it, as in the
        authors' code.
        """
        if len(batch.target_cos):
            self.t.lerp_(batch.target_cos.mean().to(self.t.dtype), self.momentum)

    def negatives(self, cosines: Tensor, batch: Batch) -> Tensor:
        """cos_j (t + cos_j) where cos_j > cos(theta_y + m); shape (b, c) to (b, c)."""
        own = batch.target_cos.detach()
        level = add_angle(own, torch.full_like(own, self.base_margin_rad), "none").unsqueeze(1)
        return torch.where(cosines > level, cosines * (self.t.to(cosines.dtype) + cosines), cosines)

    def describe(self) -> str:
        return (
            f"{super().describe()}; negatives above it count cos_j (t + cos_j), t now "
            f"{float(self.t):.3g}"
        )
