"""KappaFace: identities that are rare, or whose embeddings scatter, get a larger margin."""

import math

import torch
from torch import Tensor

from cdmllab.margins.angular import AngularMargin, BeyondPi, add_angle
from cdmllab.margins.policy import Batch, Gradient, check_range
from cdmllab.margins.registry import register


@register(
    "kappaface",
    year=2022,
    moved_by=("class",),
    direction="identities whose embeddings scatter, and rarer ones, get the larger margin",
)
class KappaFace(AngularMargin):
    """cos(theta + m0 psi_y) on the target, with psi = gamma w_size + (1 - gamma) w_kappa.

    The method is of Oinar et al., 2023, arXiv 2201.07394_. For an identity seen n times::

        w_size  = (cos(pi n / max n) + 1) / 2
        w_kappa = 1 - sigmoid(T kappa~)

    where kappa~ is the concentration kappa = r (d - r^2) / (1 - r^2) of its embeddings (equations 5
    and 6), standardised over identities. The paper stores every embedding of an epoch; here r is
    the length of a running mean of unit embeddings, one vector per identity. While an identity has
    been seen fewer than two times its w_kappa is 1/2, and while there are fewer than two such
    identities psi is 1 for all. (The authors' code swaps gamma and 1 - gamma.)

    Parameters
    ----------
    num_identities, embedding_dim : c and d
    margin_rad : m0, radians
    temperature : T
    gamma : weight of the size term, in [0, 1]
    momentum : weight of the newest embedding in the running mean, after the first 1 / momentum
        embeddings, over which the mean is a plain average
    beyond_pi, easy_margin, gradient : as for ArcFace

    .. _2201.07394: https://arxiv.org/abs/2201.07394
    """

    mean: Tensor
    count: Tensor

    def __init__(
        self,
        *,
        num_identities: int,
        embedding_dim: int,
        margin_rad: float = 0.8,
        temperature: float = 0.4,
        gamma: float = 0.7,
        momentum: float = 0.05,
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient)
        check_range("margin_rad", margin_rad, 0.0, math.pi)
        check_range("temperature", temperature, 0.0, 100.0)
        check_range("gamma", gamma, 0.0, 1.0)
        check_range("momentum", momentum, 0.0, 1.0)
        self.base_margin_rad, self.temperature, self.gamma = margin_rad, temperature, gamma
        self.momentum, self.dim = momentum, embedding_dim
        self.register_buffer("mean", torch.zeros(num_identities, embedding_dim))
        self.register_buffer("count", torch.zeros(num_identities, dtype=torch.int64))

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """Update the running means of the batch's identities with its unit embeddings."""
        if batch.unit_embeddings is None:
            raise ValueError("kappaface needs batch.unit_embeddings, which is None")
        # The u different identities of the batch, and the position of each sample among them.
        identities, position = batch.labels.unique(return_inverse=True)
        seen = torch.bincount(position, minlength=len(identities))
        total = self.mean.new_zeros(len(identities), self.dim)  # [u, d]
        total.index_add_(0, position, batch.unit_embeddings.detach().to(self.mean.dtype))
        self.count[identities] += seen
        # The weight of n new embeddings: n / count in a plain average, later 1 - (1 - momentum)^n.
        weight = (seen / self.count[identities]).clamp_min(1.0 - (1.0 - self.momentum) ** seen)
        self.mean[identities] = torch.lerp(
            self.mean[identities], total / seen.unsqueeze(1), weight.to(total.dtype).unsqueeze(1)
        )

    def weights(self) -> Tensor:
        """psi of every identity; shape (c,)."""
        known = self.count >= 2  # [c]; one embedding does not scatter
        if int(known.sum()) < 2:
            return torch.ones_like(self.count, dtype=self.mean.dtype)
        # A length of 1 would make kappa infinite.
        r = self.mean.norm(dim=1).clamp_max(1.0 - 1e-4)
        # [c], large where the embeddings of an identity agree.
        kappa = r * (self.dim - r * r) / (1.0 - r * r)
        # Where all concentrations are equal the deviation is 0, and 0 / 0 would be NaN.
        spread = kappa[known].std().clamp_min(1e-6)
        standard = torch.where(known, (kappa - kappa[known].mean()) / spread, 0.0)
        by_kappa = 1.0 - torch.sigmoid(self.temperature * standard)
        # 1 for an identity that was never seen, 0 for the most frequent one.
        by_size = (torch.cos(math.pi * self.count / self.count.max()) + 1.0) / 2.0
        return self.gamma * by_size + (1.0 - self.gamma) * by_kappa

    @torch.no_grad()
    def margin_rad(self, batch: Batch) -> Tensor:
        """m0 psi of each sample's identity; shape (b,), radians."""
        margin = (self.base_margin_rad * self.weights()[batch.labels]).to(batch.target_cos.dtype)
        return self.in_force(margin, batch.target_cos)

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta + m_y); shape (b,) to (b,)."""
        return add_angle(target_cos, self.margin_rad(batch), self.beyond_pi)

    def describe(self) -> str:
        return (
            f"cos(θ + m_y), m_y = {self.base_margin_rad:g} × ({self.gamma:g} w_size + "
            f"{1.0 - self.gamma:g} w_kappa): rare or scattered identities get the larger "
            f"margin{self.exception()}"
        )
