"""NPCFace: hard negatives weigh more, and samples that have some get a larger margin."""

import math

import torch
from torch import Tensor

from cdmllab.margins.angular import AngularMargin, BeyondPi, add_angle
from cdmllab.margins.policy import Batch, Gradient, Statistic, check_range
from cdmllab.margins.registry import register


@register(
    "npcface",
    year=2020,
    moved_by=("gap",),
    direction="samples whose hard negatives are nearer get the larger margin, and these negatives "
    "count more",
)
class NPCFace(AngularMargin):
    """cos(theta + m_i) on the target, with m_i = m0 + m1 x mean cosine of the hard negatives.

    The method is of Zeng et al., 2020, arXiv 2007.10172_. A negative is hard if cos_j >
    cos(theta_y + `hard_rad`), and becomes t cos_j + a. The choice of hard negatives and m_i are
    constants in the gradient. The defaults and the form t cos_j + a are those of the code of the
    authors' group, FaceX-Zoo_. That code always applies the margin as ``easy_margin=True`` does
    here; the paper has no such condition, and neither has the default here.

    Parameters
    ----------
    margin_rad : m0, radians
    margin_slope_rad : m1, radians per unit of cosine; 0 gives all samples the margin m0
    t, a : a hard negative becomes t cos_j + a; (1, 0) has no effect
    hard_rad : the margin in the test for hard negatives, radians
    beyond_pi, easy_margin, gradient : as for ArcFace

    .. _FaceX-Zoo: https://github.com/JDAI-CV/FaceX-Zoo/blob/main/head/NPCFace.py
    .. _2007.10172: https://arxiv.org/abs/2007.10172
    """

    statistics: tuple[Statistic, ...] = ("hard_negative_mean",)

    def __init__(
        self,
        *,
        margin_rad: float = 0.4,
        margin_slope_rad: float = 0.2,
        t: float = 1.1,
        a: float = 0.2,
        hard_rad: float = 0.5,
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient)
        check_range("margin_rad", margin_rad, 0.0, math.pi)
        # At most m0, so that a mean cosine of -1 still gives a margin of at least 0.
        check_range("margin_slope_rad", margin_slope_rad, 0.0, margin_rad)
        check_range("t", t, 1.0, 3.0)
        check_range("a", a, 0.0, 2.0)
        check_range("hard_rad", hard_rad, 0.0, math.pi)
        self.base_margin_rad, self.slope_rad = margin_rad, margin_slope_rad
        self.t, self.a, self.hard_rad = t, a, hard_rad

    def hard(self, cosines: Tensor, batch: Batch) -> Tensor:
        """cos_j > cos(theta_y + hard_rad); shape (b, c) to bool (b, c)."""
        target = batch.target_cos.detach()
        level = add_angle(target, torch.full_like(target, self.hard_rad), "none")
        return cosines > level.unsqueeze(1)

    def negatives(self, cosines: Tensor, batch: Batch) -> Tensor:
        """t cos_j + a for hard negatives; shape (b, c) to (b, c)."""
        return torch.where(self.hard(cosines, batch), self.t * cosines + self.a, cosines)

    def margin_rad(self, batch: Batch) -> Tensor:
        """m_i; shape (b,), radians."""
        if batch.hard_negative_mean is None:
            raise ValueError("npcface needs batch.hard_negative_mean, which is None")
        # The mean is 0 without a hard negative, which leaves the margin m0.
        margin = self.base_margin_rad + self.slope_rad * batch.hard_negative_mean.detach()
        return self.in_force(margin, batch.target_cos)

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta + m_i); shape (b,) to (b,)."""
        return add_angle(target_cos, self.margin_rad(batch).to(target_cos.dtype), self.beyond_pi)

    def describe(self) -> str:
        return (
            f"cos(θ + m_i), m_i = {self.base_margin_rad:g} + {self.slope_rad:g} × mean hard "
            f"negative; "
            f"hard negatives become {self.t:g} cos_j + {self.a:g}{self.exception()}"
        )
