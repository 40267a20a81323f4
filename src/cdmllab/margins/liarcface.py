"""Li-ArcFace: a margin on a logit that is linear in the angle."""

import math

from torch import Tensor

from cdmllab.geometry import angle
from cdmllab.margins.policy import Batch, Gradient, MarginPolicy, check_range
from cdmllab.margins.registry import register


@register(
    "liarcface",
    year=2019,
    label="Li-ArcFace",
    moved_by=("nothing",),
    direction="one angle for all samples",
)
class LiArcFace(MarginPolicy):
    """(pi - 2 (theta + m)) / pi on the target, (pi - 2 theta_j) / pi for the negatives.

    From AirFace (Li et al., 2019, arXiv 1907.12256_). The logit is linear in the angle, so it keeps
    falling past theta + m = pi and needs no `beyond_pi`.

    Parameters
    ----------
    margin_rad : m in radians, in [0, pi)
    gradient : see `MarginPolicy`; the straight-through gradient is with respect to the cosine

    .. _1907.12256: https://arxiv.org/abs/1907.12256
    """

    def __init__(self, *, margin_rad: float = 0.45, gradient: Gradient = "exact") -> None:
        super().__init__(gradient=gradient)
        check_range("margin_rad", margin_rad, 0.0, math.pi)
        self.base_margin_rad = margin_rad

    def margin_rad(self, batch: Batch) -> Tensor:
        """The margin of each sample; shape (b,), radians."""
        return batch.target_cos.new_full(batch.target_cos.shape, self.base_margin_rad)

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """1 - 2 (theta + m) / pi; shape (b,) to (b,)."""
        # Without a margin it is 1 at 0, 0 at 90 and -1 at 180 degrees, like the cosine.
        return 1.0 - 2.0 * (angle(target_cos) + self.base_margin_rad) / math.pi

    def negatives(self, cosines: Tensor, batch: Batch) -> Tensor:
        """1 - 2 theta / pi; shape (b, c) to (b, c)."""
        return 1.0 - 2.0 * angle(cosines) / math.pi

    def describe(self) -> str:
        return f"1 - 2 (θ + m) / π, m = {self.base_margin_rad:g} rad; negatives become 1 - 2 θ / π"
