"""CosFace: the same margin subtracted from the target cosine of all samples."""

from torch import Tensor

from cdmllab.margins.policy import Batch, Gradient, MarginPolicy, check_range
from cdmllab.margins.registry import register


@register(
    "cosface",
    year=2018,
    moved_by=("nothing",),
    direction="one cosine for all samples",
)
class CosFace(MarginPolicy):
    """cos(theta) - m on the target (Wang et al., 2018, arXiv 1801.09414_).

    AM-Softmax (Wang et al., 2018, arXiv 1801.05599_) is the same loss.

    Parameters
    ----------
    margin_cos : m, in [0, 2]; arcface_torch uses 0.4
    gradient : see `MarginPolicy`; it makes no difference here, since d(c - m)/dc = 1

    .. _1801.09414: https://arxiv.org/abs/1801.09414
    .. _1801.05599: https://arxiv.org/abs/1801.05599
    """

    def __init__(self, *, margin_cos: float = 0.35, gradient: Gradient = "exact") -> None:
        super().__init__(gradient=gradient)
        check_range("margin_cos", margin_cos, 0.0, 2.0)
        self.margin_cos = margin_cos

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta) - m; shape (b,) to (b,)."""
        return target_cos - self.margin_cos

    def describe(self) -> str:
        return f"cos θ - m, m = {self.margin_cos:g} for every sample"
