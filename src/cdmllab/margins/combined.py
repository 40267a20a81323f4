"""The combined margin: SphereFace, ArcFace and CosFace in one formula."""

import math

import torch
from torch import Tensor

from cdmllab.margins.angular import AngularMargin, BeyondPi, combined
from cdmllab.margins.policy import Batch, Gradient, check_range
from cdmllab.margins.registry import register


@register(
    "combined",
    year=2018,
    moved_by=("nothing",),
    direction="one angle and one cosine for all samples",
)
class Combined(AngularMargin):
    """cos(m1 theta + m2) - m3 on the target (Deng et al., 2019, arXiv 1801.07698_, equation 4).

    The ArcFace paper uses two settings, CM1 (1, 0.3, 0.2), which is the default here, and CM2 (0.9,
    0.4, 0.15). The authors' MXNet code (arcface_mxnet_) applies the plain formula,
    ``beyond_pi="none"``, with its exact gradient. arcface_torch does not implement this loss: if m3
    is set it ignores m1 and m2, see `cdmllab.margins.arcface_torch`.

    Parameters
    ----------
    m1 : factor on the angle, in [0.5, 4]
    margin_rad : m2, the angle to add, radians
    margin_cos : m3, the cosine to subtract
    beyond_pi : see `cdmllab.margins.angular.combined`
    easy_margin : as for ArcFace, for all three parts of the margin
    gradient : see `MarginPolicy`

    .. _1801.07698: https://arxiv.org/abs/1801.07698
    .. _arcface_mxnet: https://github.com/deepinsight/insightface/blob/master/recognition/arcface_mxnet/train.py
    """

    def __init__(
        self,
        *,
        m1: float = 1.0,
        margin_rad: float = 0.3,
        margin_cos: float = 0.2,
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient)
        check_range("m1", m1, 0.5, 4.0)
        check_range("margin_rad", margin_rad, 0.0, math.pi)
        check_range("margin_cos", margin_cos, 0.0, 2.0)
        self.m1, self.m2, self.m3 = m1, margin_rad, margin_cos

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(m1 theta + m2) - m3; shape (b,) to (b,)."""
        margined = combined(target_cos, self.m1, self.m2, self.m3, self.beyond_pi)
        # `in_force` cannot disable the factor m1, so the whole target is chosen here.
        return torch.where(target_cos > 0.0, margined, target_cos) if self.easy_margin else margined

    def describe(self) -> str:
        return f"cos({self.m1:g} θ + {self.m2:g}) - {self.m3:g}{self.exception()}"
