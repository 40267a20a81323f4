"""ArcFace: one additive angular margin for all samples."""

import math

import torch
from torch import Tensor

from cdmllab.margins.angular import AngularMargin, BeyondPi, add_angle
from cdmllab.margins.policy import Batch, Gradient, check_range


class ArcFace(AngularMargin):
    """cos(theta + m) on the target (Deng et al., "ArcFace", 2019, equation 3).

    Parameters
    ----------
    margin_rad : m in radians, in [0, pi)
    beyond_pi : what stands past theta = pi - m, see `cdmllab.margins.angular.add_angle`
    gradient : see `MarginPolicy`
    """

    def __init__(
        self, *, margin_rad: float = 0.5, beyond_pi: BeyondPi = "linear", gradient: Gradient = "exact"
    ) -> None:
        super().__init__(beyond_pi=beyond_pi, gradient=gradient)
        check_range("margin_rad", margin_rad, 0.0, math.pi)
        self.base_margin_rad = margin_rad

    def margin_rad(self, batch: Batch) -> Tensor:
        """The margin of each sample; shape (b,), radians."""
        return torch.full_like(batch.target_cos, self.base_margin_rad)

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta + m); shape (b,) to (b,)."""
        return add_angle(target_cos, self.margin_rad(batch).detach(), self.beyond_pi)

    def describe(self) -> str:
        degrees = math.degrees(self.base_margin_rad)
        return f"cos(θ + m), m = {self.base_margin_rad:g} rad ({degrees:.1f}°) for every sample"
