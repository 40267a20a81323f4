"""AdaCos: no margin, but a scale that adapts to each batch."""

import math

import torch
from torch import Tensor

from cdmllab.geometry import angle
from cdmllab.margins.policy import Batch, Gradient, MarginPolicy, Statistic
from cdmllab.margins.registry import register


@register(
    "adacos",
    year=2019,
    moved_by=("nothing",),
    direction="no margin; the scale follows the batch",
)
class AdaCos(MarginPolicy):
    """s = log(B_avg) / cos(min(pi/4, median theta_y)) (Zhang et al., 2019, arXiv 1905.00292_).

    B_avg is the batch mean of sum_{j != y} exp(s' cos theta_j), the sum over negatives at the
    previous scale s'. The scale starts at sqrt(2) log(c - 1) and replaces the head's; we never let
    it fall below 1.

    Parameters
    ----------
    num_identities : c
    dynamic : update the scale with every batch; False keeps its initial value, which is the
        paper's fixed AdaCos
    gradient : see `MarginPolicy`

    .. _1905.00292: https://arxiv.org/abs/1905.00292
    """

    scale: Tensor

    def __init__(
        self, *, num_identities: int, dynamic: bool = True, gradient: Gradient = "exact"
    ) -> None:
        super().__init__(gradient=gradient)
        self.dynamic = dynamic
        self.statistics: tuple[Statistic, ...] = ("negative_partition",) if dynamic else ()
        # At least log 2: with two identities the scale would start at 0.
        start = math.sqrt(2.0) * math.log(max(num_identities - 1, 2))
        self.register_buffer("scale", torch.tensor(start))

    def current_scale(self, scale: Tensor) -> Tensor:
        """The running scale, which replaces the head's; a scalar tensor."""
        return self.scale

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """Set the scale from the batch's median target angle and mean sum over negatives."""
        if not self.dynamic or not len(batch.target_cos) or batch.negative_partition is None:
            return
        # The logarithm of the mean of exp(partition): the sums themselves could overflow.
        log_average = batch.negative_partition.logsumexp(dim=0) - math.log(len(batch.target_cos))
        median = angle(batch.target_cos).median().clamp_max(math.pi / 4.0)  # radians
        self.scale.copy_((log_average / torch.cos(median)).clamp_min(1.0))

    def describe(self) -> str:
        follows = "adapts to each batch" if self.dynamic else "stays fixed"
        return f"cos θ without a margin; the scale is {float(self.scale):.3g} and {follows}"
