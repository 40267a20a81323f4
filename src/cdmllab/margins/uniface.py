"""UniFace: one threshold for all positives and negatives of all identities, which is learnt."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdmllab.margins.policy import Batch, Gradient, MarginPolicy, check_range
from cdmllab.margins.registry import register


@register(
    "uniface",
    year=2023,
    label="UniFace",
    moved_by=("nothing",),
    direction="one margin for all samples, measured from one learnt threshold",
)
class UniFace(MarginPolicy):
    """log(1 + exp(b - s (cos theta - m))) + l sum_j log(1 + exp(s cos theta_j - b)), b learnt (Zhou
    et al., ICCV 2023_).

    Equations 31 and 32: no softmax, but one logistic loss for the positive and one for each
    negative. All of them share the bias b, so b / s is a cosine that is to separate positives from
    negatives, whoever they are of. b starts at log(10 c), as in the authors' code_, which with
    samples of negatives (`sample_rate` of the sharded head) starts at log(10 c sample_rate).

    Parameters
    ----------
    num_identities : c
    scale : s, where `clip_logits` cuts
    margin_cos : m, subtracted from the positive cosine; 0 is neutral
    negative_weight : l, in [0, 100]; 1 is neutral
    bias : where b starts, in units of the logit; None is log(10 c)
    clip_logits : cut s (cos theta - m) - b off at -s and s, as the authors' code does; beyond them
        a sample has no gradient. At s = 64 with 10,000 identities these are positives below a
        cosine of -0.4, before the margin.
    gradient : see `MarginPolicy`

    .. _2023: https://openaccess.thecvf.com/content/ICCV2023/html/Zhou_UniFace_Unified_Cross-Entropy_Loss_for_Deep_Face_Recognition_ICCV_2023_paper.html
    .. _code: https://github.com/CVI-SZU/UniFace/blob/00ade47075e26f24a96a1db718046b9af5f068ea/head.py
    """

    reduction = "sum"

    def __init__(
        self,
        *,
        num_identities: int,
        scale: float = 64.0,
        margin_cos: float = 0.4,
        negative_weight: float = 1.0,
        bias: float | None = None,
        clip_logits: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(gradient=gradient)
        check_range("margin_cos", margin_cos, 0.0, 2.0)
        check_range("negative_weight", negative_weight, 0.0, 100.0)
        if bias is not None:
            check_range("bias", bias, -1e4, 1e4)
        if not isinstance(clip_logits, bool):
            raise ValueError(f"clip_logits must be True or False; got {clip_logits!r}")
        self.margin_cos, self.negative_weight = margin_cos, negative_weight
        self.limit = float(scale) if clip_logits else math.inf
        start = math.log(10.0 * num_identities) if bias is None else bias
        self.bias = nn.Parameter(torch.tensor(start, dtype=torch.float64).float())

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos theta - m; shape (b,) to (b,)."""
        return target_cos - self.margin_cos

    def negative_loss(self, logits: Tensor) -> Tensor:
        """log(1 + exp(z - b)); shape (b, c) to (b, c)."""
        return F.softplus(self._beyond(logits), threshold=40.0)

    def sample_loss(self, positive_logit: Tensor, negatives: Tensor) -> Tensor:
        """log(1 + exp(b - z)) + l times the negatives' losses; shapes (b,), (b,) to (b,)."""
        positive = F.softplus(-self._beyond(positive_logit), threshold=40.0)
        return positive + self.negative_weight * negatives

    def _beyond(self, logits: Tensor) -> Tensor:
        """How far logits are above the threshold, in logits."""
        # Without `clip_logits` the limit is infinite, and nothing is cut.
        return (logits - self.bias.to(logits.dtype)).clamp(-self.limit, self.limit)

    def describe(self) -> str:
        return (
            f"logistic losses of s (cos θ - {self.margin_cos:g}) and of s cos θ_j against one "
            f"learnt threshold, now {float(self.bias.detach()):.3g}"
        )
