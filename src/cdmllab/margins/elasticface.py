"""ElasticFace: the margin is drawn anew for every sample."""

import math

import numpy as np
import torch
from torch import Tensor

from cdmllab.margins.angular import AngularMargin, BeyondPi, add_angle
from cdmllab.margins.policy import Batch, Gradient, check_range
from cdmllab.margins.registry import register


@register(
    "elasticface",
    year=2021,
    moved_by=("chance",),
    direction="drawn anew for each sample and batch",
)
class ElasticFace(AngularMargin):
    """ArcFace or CosFace with m_i from a normal distribution.

    Equations 6 and 7 of Boutros et al., 2022, arXiv 2109.09416_.

    ``plus=True`` hands the drawn margins out by difficulty, the largest to the smallest target
    cosine, as the paper says. (The authors' code gathers where it would have to scatter, which
    leaves the hand-out random.) The draws depend on `seed` and on the number of training batches
    seen, so they survive ``state_dict``.

    Parameters
    ----------
    margin_rad : mean of the angular margin (ElasticFace-Arc); None for ElasticFace-Cos
    margin_cos : mean of the cosine margin (ElasticFace-Cos; the paper has 0.35); None for
        ElasticFace-Arc
    sigma : standard deviation, in the unit of the margin; 0 is ArcFace or CosFace. The default,
        0.05, is what the authors train with (config.py_); the default of the loss in their code is
        0.0125.
    plus : see above
    seed : of the draws
    beyond_pi, easy_margin, gradient : as for ArcFace

    .. _config.py: https://github.com/fdbtrs/ElasticFace/blob/main/config/config.py
    .. _2109.09416: https://arxiv.org/abs/2109.09416
    """

    step: Tensor

    def __init__(
        self,
        *,
        margin_rad: float | None = 0.5,
        margin_cos: float | None = None,
        sigma: float = 0.05,
        plus: bool = False,
        seed: int = 0,
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient)
        if margin_rad is not None and margin_cos is not None:
            raise ValueError("give margin_rad or margin_cos, and None for the other")
        if margin_rad is None and margin_cos is None:
            raise ValueError("give margin_rad or margin_cos; both are None")
        check_range("margin_rad", margin_rad or 0.0, 0.0, math.pi)
        check_range("margin_cos", margin_cos or 0.0, 0.0, 2.0)
        check_range("sigma", sigma, 0.0, 1.0)
        self.mean_rad, self.mean_cos, self.sigma = margin_rad, margin_cos, sigma
        self.plus, self.seed = plus, seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def observe(self, batch: Batch) -> None:
        """Count the batch: the next draws are others."""
        self.step += 1

    @torch.no_grad()
    def draws(self, batch: Batch) -> Tensor:
        """The margins of a batch, in the loss's unit; shape (b,)."""
        cosines = batch.target_cos.detach()
        generator = np.random.default_rng([self.seed, int(self.step)])
        noise = torch.from_numpy(generator.standard_normal(len(cosines))).to(cosines)
        if self.plus:
            hardest_first = cosines.argsort()
            noise = torch.empty_like(noise).index_copy_(
                0, hardest_first, noise.sort(descending=True).values
            )
        mean = self.mean_rad if self.mean_rad is not None else self.mean_cos
        return (mean or 0.0) + self.sigma * noise

    def margin_rad(self, batch: Batch) -> Tensor:
        """The angle by which each target is pushed back; shape (b,), radians."""
        if self.mean_rad is None:
            return super().margin_rad(batch)
        return self.in_force(self.draws(batch), batch.target_cos)

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta + m_i) or cos(theta) - m_i; shape (b,) to (b,)."""
        if self.mean_rad is None:
            return target_cos - self.in_force(self.draws(batch), target_cos)
        return add_angle(target_cos, self.margin_rad(batch), self.beyond_pi)

    def describe(self) -> str:
        form, mean = (
            ("cos(θ + m_i)", self.mean_rad)
            if self.mean_rad is not None
            else ("cos θ - m_i", self.mean_cos)
        )
        order = ", the largest to the hardest" if self.plus else ""
        return f"{form}, m_i drawn from N({mean:g}, {self.sigma:g}²){order}{self.exception()}"
