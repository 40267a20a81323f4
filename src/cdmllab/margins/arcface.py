"""ArcFace: the same additive angular margin for all samples."""

import math

import torch
from torch import Tensor

from cdmllab.margins.angular import AngularMargin, BeyondPi, add_angle
from cdmllab.margins.policy import Batch, Gradient, check_range
from cdmllab.margins.registry import register


@register(
    "arcface",
    year=2018,
    moved_by=("nothing",),
    direction="one angle for all samples",
)
class ArcFace(AngularMargin):
    """cos(theta + m) on the target (Deng et al., 2019, arXiv 1801.07698_, equation 3).

    Public implementations differ past theta = pi - m and in the gradient. The authors' first code
    (MXNet, 2018_) continues linearly and offers `easy_margin` as an option; their later MXNet code
    (arcface_mxnet_) applies the plain formula, ``beyond_pi="none"``; both use the exact gradient.
    arcface_torch_ applies the plain formula with the straight-through gradient, which is the loss
    that `cdmllab.margins.arcface_torch` builds. The popular code of ronghuaiyang_ has the same
    options as the first.

    Parameters
    ----------
    margin_rad : m in radians, in [0, pi)
    beyond_pi : the rule for the target past theta = pi - m, see
        `cdmllab.margins.angular.add_angle`
    easy_margin : apply the margin only to positive target cosines, see
        `cdmllab.margins.angular.AngularMargin`
    gradient : see `MarginPolicy`

    .. _2018: https://github.com/deepinsight/insightface/blob/02cbf7bdcfcab73f94a0a9ccabdf7a713b0b3e6c/src/train_softmax.py
    .. _arcface_mxnet: https://github.com/deepinsight/insightface/blob/master/recognition/arcface_mxnet/train.py
    .. _arcface_torch: https://github.com/deepinsight/insightface/blob/master/recognition/arcface_torch/losses.py
    .. _ronghuaiyang: https://github.com/ronghuaiyang/arcface-pytorch/blob/master/models/metrics.py
    .. _1801.07698: https://arxiv.org/abs/1801.07698
    """

    def __init__(
        self,
        *,
        margin_rad: float = 0.5,
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient)
        check_range("margin_rad", margin_rad, 0.0, math.pi)
        self.base_margin_rad = margin_rad

    def margin_rad(self, batch: Batch) -> Tensor:
        """The margin of each sample; shape (b,), radians."""
        return self.in_force(
            torch.full_like(batch.target_cos, self.base_margin_rad), batch.target_cos
        )

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta + m); shape (b,) to (b,)."""
        return add_angle(target_cos, self.margin_rad(batch), self.beyond_pi)

    def describe(self) -> str:
        degrees = math.degrees(self.base_margin_rad)
        return (
            f"cos(θ + m), m = {self.base_margin_rad:g} rad ({degrees:.1f}°) for every "
            f"sample{self.exception()}"
        )
