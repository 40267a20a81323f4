"""NormFace: cosines and a scale, no margin."""

from cdmllab.margins.policy import MarginPolicy


class NormFace(MarginPolicy):
    """The target cosine as it is (Wang et al., "NormFace", 2017). The paper learns the scale: ``learn_scale=True``."""
