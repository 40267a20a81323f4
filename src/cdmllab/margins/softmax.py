"""Plain softmax: neither embeddings nor class centres are normalised."""

from cdmllab.margins.policy import MarginPolicy
from cdmllab.margins.registry import register


@register("softmax", year=1990)
class Softmax(MarginPolicy):
    """The logit w.x + b, with lengths and biases left in; the scale is not used.

    What every classifier starts from, and the baseline of ArcFace's table 2. It has no cosine to put a margin
    on; `target_cos` in the head's output is there for comparison.
    """

    uses_cosine = False

    def describe(self) -> str:
        return "logit w·x + b, lengths left in, no scale and no margin"
