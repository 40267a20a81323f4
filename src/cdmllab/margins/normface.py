"""NormFace: a softmax over scaled cosines, without a margin."""

from cdmllab.margins.policy import MarginPolicy
from cdmllab.margins.registry import register


@register(
    "normface",
    year=2017,
    moved_by=("nothing",),
    direction="no margin",
)
class NormFace(MarginPolicy):
    """cos(theta) on the target, unchanged (Wang et al., 2017, arXiv 1704.06369_).

    The paper learns the scale; set ``learn_scale=True`` in the head to do the same.

    .. _1704.06369: https://arxiv.org/abs/1704.06369
    """

    def describe(self) -> str:
        return "no margin"
