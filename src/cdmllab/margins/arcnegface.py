"""ArcNegFace: negatives near the target weigh more, and those far from it less."""

import torch
from torch import Tensor

from cdmllab.margins.angular import BeyondPi
from cdmllab.margins.arcface import ArcFace
from cdmllab.margins.policy import Batch, Gradient, check_range
from cdmllab.margins.registry import register


@register(
    "arcnegface",
    year=2019,
    label="ArcNegFace",
    moved_by=("gap",),
    direction="the margin over a negative is the larger, the nearer its cosine is to the target",
)
class ArcNegFace(ArcFace):
    """cos(theta + m) on the target; t cos_j + t - 1 for negatives (Liu et al., 2019, arXiv
    1909.00632_).

    t = alpha exp(-(cos_j - cos(theta + m))^2 / sigma) is a weight that is not differentiated. It is
    largest where a negative's cosine equals the margined target, and falls off on both sides: a
    negative that is far above the target may be a wrong label.

    The authors published no code that we know of. The formula and its constants are those of
    cavaface_ and FaceX-Zoo_, two codes by one hand. With its easy margin cavaface also leaves the
    negatives as they are; here `easy_margin` is about the target alone.

    Parameters
    ----------
    alpha : the largest t, in [0, 4]; 1 with a large `sigma` is neutral
    sigma : how fast t falls off, in squared cosines, in [0.001, 1e9]
    margin_rad, beyond_pi, easy_margin, gradient : as for ArcFace

    .. _1909.00632: https://arxiv.org/abs/1909.00632
    .. _cavaface: https://github.com/cavalleria/cavaface/blob/822651f0e6d4d08df5441922acead39dc5375103/head/metrics.py
    .. _FaceX-Zoo: https://github.com/JDAI-CV/FaceX-Zoo/blob/16b793a7564a4b9308cf94e62bdb2ffacb3a725a/head/ArcNegFace.py
    """

    def __init__(
        self,
        *,
        margin_rad: float = 0.5,
        alpha: float = 1.2,
        sigma: float = 2.0,
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(
            margin_rad=margin_rad, beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient
        )
        check_range("alpha", alpha, 0.0, 4.0)
        check_range("sigma", sigma, 1e-3, 1e9)
        self.alpha, self.sigma = alpha, sigma

    def negatives(self, cosines: Tensor, batch: Batch) -> Tensor:
        """t cos_j + t - 1; shape (b, c) to (b, c)."""
        with torch.no_grad():
            level = self.target(batch.target_cos.detach(), batch).unsqueeze(1)  # [b, 1]
            t = self.alpha * torch.exp(-(cosines - level).square() / self.sigma)
        return t * cosines + t - 1.0

    def describe(self) -> str:
        return (
            f"{super().describe()}; negatives count t (cos_j + 1) - 1, t at most {self.alpha:g} "
            f"where they equal the target"
        )
