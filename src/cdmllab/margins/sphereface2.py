"""SphereFace2: one binary classification for each identity, instead of a softmax over all."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdmllab.margins.policy import Batch, Gradient, MarginPolicy, check_range, straight_through
from cdmllab.margins.registry import register


@register(
    "sphereface2",
    year=2021,
    label="SphereFace2",
    moved_by=("angle",),
    direction="the adjustment takes most near 80 degrees; the margin itself is one for all",
)
class SphereFace2(MarginPolicy):
    """w / r times the logistic losses of r (g(cos theta) - m) + b for the positive, weighted by
    lambda, and of r (g(cos theta_j) + m) + b for each negative, weighted by 1 - lambda (Wen et al.,
    2022, arXiv 2108.01513_).

    g(z) = 2 ((z + 1) / 2)^t - 1 spreads high similarities out, and r is the head's scale. The bias
    b is learnt. It starts where it has no gradient if all cosines are 0, positives and negatives,
    and so do both kinds of losses balance each other.

    This is SphereFace2-C of the authors' code_, whose defaults these are (their r is 40). It
    multiplies the paper's loss by w = 50 and computes g and m outside of the gradient, positives'
    and negatives' alike; that is ``gradient="straight_through"``. Their training of MS1M has
    lambda 0.8, m 0.5 and r 64.

    Parameters
    ----------
    num_identities : c
    scale : r, for the start of b and the factor 1 / r. A scale that is learnt moves neither.
    positive_share : lambda, in [0.001, 0.999]
    margin_cos : m, subtracted from the positive's adjusted cosine and added to the negatives'; 0 is
        neutral
    t : exponent of the adjustment, in [1, 10]; 1 is neutral
    weight : w, in [0.001, 1e6]; 1 is the paper's loss
    gradient : see `MarginPolicy`; straight through holds for the negatives too

    .. _2108.01513: https://arxiv.org/abs/2108.01513
    .. _code: https://github.com/ydwen/opensphere/blob/a679e82032455941932e23e3d3cbab6b8c07e3d4/opensphere/module/head/sphereface2.py
    """

    reduction = "sum"

    def __init__(
        self,
        *,
        num_identities: int,
        scale: float = 64.0,
        positive_share: float = 0.7,
        margin_cos: float = 0.4,
        t: float = 3.0,
        weight: float = 50.0,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(gradient=gradient)
        check_range("positive_share", positive_share, 1e-3, 0.999)
        check_range("margin_cos", margin_cos, 0.0, 2.0)
        check_range("t", t, 1.0, 10.0)
        check_range("weight", weight, 1e-3, 1e6)
        self.positive_share, self.margin_cos, self.t = positive_share, margin_cos, t
        self.factor = weight / scale
        self.bias = nn.Parameter(torch.tensor(self._first_bias(num_identities, float(scale))))

    def _first_bias(self, num_identities: int, r: float) -> float:
        """The b at which lambda sigmoid(-z_y - b) = (1 - lambda) (c - 1) sigmoid(z_j + b), z_y and
        z_j the logits of a positive and a negative at 90 degrees.
        """
        # The weight of the positive over that of all negatives together.
        ratio = self.positive_share / ((1.0 - self.positive_share) * max(num_identities - 1, 1))
        # The logit of a negative at 90 degrees, without the bias.
        negative = r * (2.0 * math.pow(0.5, self.t) - 1.0 + self.margin_cos)
        gap = -2.0 * r * self.margin_cos  # of the positive's logit to the negative's
        # With v = exp(z_j + b) it is exp(gap) v^2 + (1 - ratio) v - ratio = 0.
        root = math.sqrt((1.0 - ratio) ** 2 + 4.0 * ratio * math.exp(gap))
        # Two forms of one root: each avoids the difference of two nearly equal numbers.
        if ratio <= 1.0:
            return math.log(2.0 * ratio) - math.log(1.0 - ratio + root) - negative
        return math.log(ratio - 1.0 + root) - math.log(2.0) - gap - negative

    def adjusted(self, cosines: Tensor) -> Tensor:
        """g(cos theta) = 2 ((cos theta + 1) / 2)^t - 1; any shape."""
        # By rounding a cosine may be below -1, where a fractional power is NaN.
        return 2.0 * ((cosines.clamp_min(-1.0) + 1.0) / 2.0).pow(self.t) - 1.0

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """g(cos theta) - m; shape (b,) to (b,)."""
        return self.adjusted(target_cos) - self.margin_cos

    def negatives(self, cosines: Tensor, batch: Batch) -> Tensor:
        """g(cos theta_j) + m; shape (b, c) to (b, c)."""
        if self.gradient == "straight_through":
            with torch.no_grad():
                changed = self.adjusted(cosines) + self.margin_cos
            return straight_through(changed, cosines)
        return self.adjusted(cosines) + self.margin_cos

    def negative_loss(self, logits: Tensor) -> Tensor:
        """log(1 + exp(z + b)); shape (b, c) to (b, c)."""
        # Beyond 40 softplus is the identity, see `MarginPolicy.sample_loss`.
        return F.softplus(logits + self.bias.to(logits.dtype), threshold=40.0)

    def sample_loss(self, positive_logit: Tensor, negatives: Tensor) -> Tensor:
        """w / r times the weighted sum of both kinds; shapes (b,), (b,) to (b,)."""
        positive = F.softplus(-positive_logit - self.bias.to(positive_logit.dtype), threshold=40.0)
        share = self.positive_share
        return self.factor * (share * positive + (1.0 - share) * negatives)

    def describe(self) -> str:
        return (
            f"logistic losses of g(cos θ) - {self.margin_cos:g} and of g(cos θ_j) + "
            f"{self.margin_cos:g}, g(z) = 2 ((z + 1) / 2)^{self.t:g} - 1, with one learnt bias, "
            f"now {float(self.bias.detach()):.3g}"
        )
