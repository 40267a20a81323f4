"""ElasticFace: a random margin for every sample."""

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
    """cos(theta + m_i) or cos(theta) - m_i, with m_i drawn from N(m, sigma^2) for every sample.

    These are equations 6 and 7 of Boutros et al., 2022, arXiv 2109.09416_. The authors' code
    (losses.py_) applies the plain formula past pi, ``beyond_pi="none"``.

    ``plus=True`` assigns the drawn margins by difficulty, the largest to the smallest target
    cosine, as in the paper. (The authors' code uses a gather where the paper's rule needs a
    scatter, so its assignment is random.) The margins depend on `seed` and on the number of
    training batches so far, which is in ``state_dict``: a resumed run draws the same.

    Parameters
    ----------
    margin_rad : mean of the angular margin (ElasticFace-Arc); None for ElasticFace-Cos
    margin_cos : mean of the cosine margin (ElasticFace-Cos; 0.35 in the paper); None for
        ElasticFace-Arc
    sigma : standard deviation, in the unit of the margin; 0 is ArcFace or CosFace. The default,
        0.05, is the value that the authors train with (config.py_); the default of the loss in
        their code is 0.0125.
    plus : see above
    seed : seed of the random margins
    beyond_pi, easy_margin, gradient : as for ArcFace

    .. _config.py: https://github.com/fdbtrs/ElasticFace/blob/main/config/config.py
    .. _losses.py: https://github.com/fdbtrs/ElasticFace/blob/main/utils/losses.py
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
            raise ValueError("give either margin_rad or margin_cos, and None for the other")
        if margin_rad is None and margin_cos is None:
            raise ValueError("give either margin_rad or margin_cos; both are None")
        # A margin that is None counts as 0 here, which is in range.
        check_range("margin_rad", margin_rad or 0.0, 0.0, math.pi)
        check_range("margin_cos", margin_cos or 0.0, 0.0, 2.0)
        check_range("sigma", sigma, 0.0, 1.0)
        self.mean_rad, self.mean_cos, self.sigma = margin_rad, margin_cos, sigma
        self.plus, self.seed = plus, seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def observe(self, batch: Batch) -> None:
        """Count the batch, so that the next one gets different margins."""
        self.step += 1

    @torch.no_grad()
    def draws(self, batch: Batch) -> Tensor:
        """The random margins of a batch, in the unit of the margin; shape (b,)."""
        cosines = batch.target_cos.detach()
        # Seeded by the number of batches, so every call for one batch draws the same margins.
        generator = np.random.default_rng([self.seed, int(self.step)])
        # NumPy's generator draws the same numbers whatever the device is.
        noise = torch.from_numpy(generator.standard_normal(len(cosines))).to(cosines)
        if self.plus:
            hardest_first = cosines.argsort()
            # The k-th largest draw goes to the k-th smallest target cosine.
            noise = torch.empty_like(noise).index_copy_(
                0, hardest_first, noise.sort(descending=True).values
            )
        mean = self.mean_rad if self.mean_rad is not None else self.mean_cos
        return (mean or 0.0) + self.sigma * noise

    def margin_rad(self, batch: Batch) -> Tensor:
        """The angle that the margin adds to each target; shape (b,), radians."""
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
        order = ", the largest for the hardest samples" if self.plus else ""
        return f"{form}, m_i drawn from N({mean:g}, {self.sigma:g}²){order}{self.exception()}"
