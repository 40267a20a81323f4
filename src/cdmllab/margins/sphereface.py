"""SphereFace (A-Softmax): a multiplicative angular margin."""

import math

import torch
from torch import Tensor

from cdmllab.geometry import angle
from cdmllab.margins.policy import Batch, Gradient, MarginPolicy, check_range
from cdmllab.margins.registry import register


@register(
    "sphereface",
    year=2017,
    moved_by=("angle", "time"),
    direction="samples farther from their centre get the larger margin, and all get more of it as "
    "training goes on",
)
class SphereFace(MarginPolicy):
    """psi(theta) = (-1)^k cos(m theta) - 2k on the target, with k = floor(m theta / pi).

    The method is of Liu et al., 2017, arXiv 1704.08063_. The sign and the shift -2k make psi fall
    all the way from 0 to pi, where cos(m theta) alone would oscillate.

    The target is (lambda cos theta + psi) / (1 + lambda), where lambda falls from `anneal_from` to
    `anneal_to` as ``anneal_from / (1 + anneal_rate step)``, as in the authors' code. The original
    uses the embedding's length as the scale; here every loss uses the head's scale.

    Parameters
    ----------
    factor : m, in [1, 8]; 4 in the paper, 1.35 in ArcFace's table 2
    anneal_from, anneal_to, anneal_rate : the schedule of lambda; ``anneal_from=0, anneal_to=0``
        applies psi alone
    gradient : see `MarginPolicy`

    .. _1704.08063: https://arxiv.org/abs/1704.08063
    """

    step: Tensor

    def __init__(
        self,
        *,
        factor: float = 4.0,
        anneal_from: float = 1000.0,
        anneal_to: float = 5.0,
        anneal_rate: float = 0.12,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(gradient=gradient)
        check_range("factor", factor, 1.0, 8.0)
        check_range("anneal_to", anneal_to, 0.0, math.inf)
        check_range("anneal_from", anneal_from, anneal_to, math.inf)
        check_range("anneal_rate", anneal_rate, 0.0, math.inf)
        self.factor = factor
        self.anneal_from, self.anneal_to, self.anneal_rate = anneal_from, anneal_to, anneal_rate
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @property
    def softening(self) -> float:
        """lambda, the weight of the plain cosine."""
        return max(self.anneal_to, self.anneal_from / (1.0 + self.anneal_rate * int(self.step)))

    def observe(self, batch: Batch) -> None:
        """Count the training step, on which lambda depends."""
        self.step += 1

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """(lambda cos theta + psi(theta)) / (1 + lambda); shape (b,) to (b,)."""
        # At theta = pi an integer m would give k = m; the last interval's formula applies there.
        total = self.factor * angle(target_cos)
        k = torch.floor(total.detach() / math.pi).clamp_max(math.ceil(self.factor) - 1)
        psi = torch.where(k % 2 == 0, 1.0, -1.0) * torch.cos(total) - 2.0 * k
        return (self.softening * target_cos + psi) / (1.0 + self.softening)

    def describe(self) -> str:
        annealed = (
            f", blended with cos θ by λ from {self.anneal_from:g} to {self.anneal_to:g}"
            if self.anneal_from
            else ""
        )
        return f"cos({self.factor:g} θ), continued monotonically{annealed}"
