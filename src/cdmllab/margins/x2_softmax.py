"""X2-Softmax: the target is a parabola in the angle."""

import math

from torch import Tensor

from cdmllab.geometry import angle
from cdmllab.margins.policy import Batch, Gradient, MarginPolicy, check_range
from cdmllab.margins.registry import register


@register(
    "x2_softmax",
    year=2023,
    label="X2-Softmax",
    moved_by=("angle",),
    direction="samples farther from their centre get the larger margin",
)
class X2Softmax(MarginPolicy):
    """a (theta - h)^2 + k on the target, for cos(theta) (Xu et al., 2023, arXiv 2312.05281_).

    At small angles the margin is close to that of CosFace with m = 1 - k. It grows with the angle,
    because the parabola falls faster than the cosine. The defaults are those of the authors'
    training script; their code_ computes the gradient as if the margin were absent, as
    ``gradient="straight_through"`` does.

    Parameters
    ----------
    a : curvature, in [-10, 0]
    h : the angle of the vertex, radians, in [-pi, 0], so that the target falls on all of [0, pi]
    k : the target at the vertex, in [-1, 1]
    gradient : see `MarginPolicy`

    .. _2312.05281: https://arxiv.org/abs/2312.05281
    .. _code: https://github.com/XieZixiUSTC/X2-Softmax/blob/760588da3740f66be328a99e7008458dae342c7d/loss.py
    """

    def __init__(
        self, *, a: float = -0.9, h: float = 0.0, k: float = 0.65, gradient: Gradient = "exact"
    ) -> None:
        super().__init__(gradient=gradient)
        check_range("a", a, -10.0, 0.0)
        check_range("h", h, -math.pi, 0.0)
        check_range("k", k, -1.0, 1.0)
        self.a, self.h, self.k = a, h, k

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """a (theta - h)^2 + k; shape (b,) to (b,)."""
        return self.a * (angle(target_cos) - self.h).square() + self.k

    def describe(self) -> str:
        shifted = f"(θ + {-self.h:g})²" if self.h else "θ²"
        return f"{self.a:g} {shifted} {'+' if self.k >= 0 else '-'} {abs(self.k):g}"
