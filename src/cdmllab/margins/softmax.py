"""Plain softmax: neither embeddings nor class centres are normalised."""

from cdmllab.margins.policy import MarginPolicy
from cdmllab.margins.registry import register


@register(
    "softmax",
    year=1990,
    moved_by=("nothing",),
    direction="no margin",
)
class Softmax(MarginPolicy):
    """The logit w.x + b, with lengths and biases left in; the scale is not used.

    What every classifier starts from (Bridle, 1990_), and the baseline of ArcFace's table 2. It has
    no cosine to put a margin on; `target_cos` in the head's output is there for comparison.

    .. _1990: https://doi.org/10.1007/978-3-642-76153-9_28
    """

    uses_cosine = False

    def describe(self) -> str:
        return "logit w·x + b, lengths left in, no scale and no margin"
