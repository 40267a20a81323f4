"""Plain softmax, with unnormalised embeddings and class centres."""

from cdmllab.margins.policy import MarginPolicy
from cdmllab.margins.registry import register


@register(
    "softmax",
    year=1990,
    moved_by=("nothing",),
    direction="no margin",
)
class Softmax(MarginPolicy):
    """The logit w.x + b, which depends on lengths and has a bias; the scale is not used.

    The standard loss of a classifier (Bridle, 1990_), and the baseline of ArcFace's table 2. There
    is no margin, since the logit is not a cosine; `target_cos` in the head's output is reported for
    comparison only.

    .. _1990: https://doi.org/10.1007/978-3-642-76153-9_28
    """

    uses_cosine = False

    def describe(self) -> str:
        return "logit w·x + b without normalisation, scale or margin"
