"""NormFace: cosines and a scale, no margin."""

from cdmllab.margins.policy import MarginPolicy
from cdmllab.margins.registry import register


@register(
    "normface",
    year=2017,
    moved_by=("nothing",),
    direction="no margin",
)
class NormFace(MarginPolicy):
    """The target cosine as it is (Wang et al., 2017, arXiv 1704.06369_).

    The paper learns the scale: ``learn_scale=True`` of the head.

    .. _1704.06369: https://arxiv.org/abs/1704.06369
    """
