"""Logit adjustment: each identity's logit is raised by the logarithm of its share of the images."""

from numpy.typing import ArrayLike
from torch import Tensor

from cdmllab.margins.class_sizes import ClassSizes
from cdmllab.margins.policy import Batch, Gradient, MarginPolicy, check_range
from cdmllab.margins.registry import register


@register(
    "logit_adjustment",
    year=2020,
    label="Logit adjustment",
    moved_by=("class",),
    direction="rarer identities get the larger margin, and the larger the commoner the negative is",
)
class LogitAdjustment(MarginPolicy):
    """Softmax of s cos theta_j + tau log(pi_j) (Menon et al., 2021, arXiv 2007.07314_).

    pi_j is the share of the training images that are of identity j. Divided by the exponential of
    the positive logit, the terms of the softmax show a margin for each pair of identities: a sample
    of identity y has to beat the negative j by tau log(pi_j / pi_y) in the logit, and by 1 / s of
    that in the cosine. At test time the logits are the plain ones, those of a classifier for
    identities that are all equally common.

    In the paper, and in the authors' code_, logits are those of a linear layer; here they are s
    times the cosine. The code adds 1e-12 to pi_j^tau; here an identity without images counts as
    large as the smallest that has some.

    `HeadOutput.margin_rad` is 0, for the target itself stays as it is. Without known class sizes
    nothing is added, which is NormFace, and training is refused.

    Parameters
    ----------
    num_identities : c
    class_sizes : the training images of each identity, shape (c,)
    tau : in [0, 10]; 0 is neutral
    gradient : see `MarginPolicy`; there is no margin that it could change

    .. _2007.07314: https://arxiv.org/abs/2007.07314
    .. _code: https://github.com/google-research/google-research/blob/1d4d2f1aa6f2883a790d2ae46a6ee8ab150d8f31/logit_adjustment/utils.py
    """

    def __init__(
        self,
        *,
        num_identities: int,
        class_sizes: ArrayLike | Tensor | None = None,
        tau: float = 1.0,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(gradient=gradient)
        check_range("tau", tau, 0.0, 10.0)
        self.tau = tau
        self.class_sizes = ClassSizes(num_identities, class_sizes)

    def observe(self, batch: Batch) -> None:
        """Refuse to train without class sizes."""
        self.class_sizes.require("logit_adjustment")

    def class_offset(self) -> Tensor | None:
        """tau log(pi) of every identity; shape (c,), at most 0."""
        if not self.class_sizes.known:
            return None
        sizes = self.class_sizes.sizes()
        return self.tau * (sizes / sizes.sum()).log()

    def describe(self) -> str:
        return f"logit s cos θ_j + {self.tau:g} log(n_j / n), for positive and negatives alike"
