"""AdaFace: the length of the embedding, a proxy for image quality, sets the kind of margin."""

import torch
from torch import Tensor

from cdmllab.margins.angular import AngularMargin, BeyondPi, add_angle
from cdmllab.margins.policy import Batch, Gradient, check_range
from cdmllab.margins.registry import register


@register(
    "adaface",
    year=2022,
    moved_by=("norm",),
    direction="longer embeddings get the larger margin, least so near 90 degrees",
)
class AdaFace(AngularMargin):
    """cos(theta - m z) - (m + m z) on the target (Kim et al., 2022, arXiv 2204.00964_).

    z = clip(h (length - mean) / std, -1, 1), without a gradient, is the standardised length of the
    embedding: z = -1 (low quality) gives ArcFace, 0 gives CosFace, and 1 emphasises hard samples.
    The mean and standard deviation are running statistics, updated before they are used; the
    default `momentum` is that of the authors' code (head.py_).

    Parameters
    ----------
    margin : m, which is used both as an angle (radians) and as a cosine
    h : how strongly the length counts; 0 is CosFace with margin m
    momentum : weight of the newest batch in the running statistics
    beyond_pi : as for ArcFace; the authors' code clips
    easy_margin : as for ArcFace, for both terms of the margin; the authors' code has no such option
    gradient : see `MarginPolicy`

    .. _2204.00964: https://arxiv.org/abs/2204.00964
    .. _head.py: https://github.com/mk-minchul/AdaFace/blob/master/head.py
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        margin: float = 0.4,
        h: float = 0.333,
        momentum: float = 0.01,
        beyond_pi: BeyondPi = "clip",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient)
        check_range("margin", margin, 0.0, 1.5)
        check_range("h", h, 0.0, 100.0)
        check_range("momentum", momentum, 0.0, 1.0)
        self.margin, self.h, self.momentum = margin, h, momentum
        # The authors' code starts from the same values.
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("std", torch.tensor(100.0))

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """Update the running mean and (unbiased) standard deviation of the embedding length."""
        if len(batch.embedding_norm) < 2:  # a single sample has no standard deviation
            return
        # The range to which the authors' code clips.
        lengths = batch.embedding_norm.clamp(1e-3, 100.0)
        self.mean.lerp_(lengths.mean().to(self.mean.dtype), self.momentum)
        self.std.lerp_(lengths.std().to(self.std.dtype), self.momentum)

    def quality(self, batch: Batch) -> Tensor:
        """z of each sample; shape (b,), in [-1, 1]."""
        lengths = batch.embedding_norm.detach().clamp(1e-3, 100.0)
        # 1e-3 as in the authors' code, since the deviation may be 0.
        return (self.h * (lengths - self.mean) / (self.std + 1e-3)).clamp(-1.0, 1.0)

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta - m z) - (m + m z); shape (b,) to (b,)."""
        z = self.quality(batch).to(target_cos.dtype)
        # Both terms of the margin: an angle and a cosine.
        angular, additive = (
            self.in_force(m, target_cos) for m in (-self.margin * z, self.margin * (1.0 + z))
        )
        return add_angle(target_cos, angular, self.beyond_pi) - additive

    def describe(self) -> str:
        z = f"z = clip({self.h:g} × standardised length, -1, 1)"
        return f"cos(θ - m z) - (m + m z), m = {self.margin:g}, {z}{self.exception()}"
