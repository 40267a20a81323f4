"""NormFace: cosines and a scale, no margin."""

from cdmllab.margins.policy import MarginPolicy
from cdmllab.margins.registry import register


@register("normface", year=2017)
class NormFace(MarginPolicy):
    """The target cosine as it is (Wang et al., "NormFace", 2017). The paper learns the scale: ``learn_scale=True``."""
