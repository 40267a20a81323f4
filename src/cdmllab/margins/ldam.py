"""LDAM: the rarer an identity, the larger its margin."""

from numpy.typing import ArrayLike
from torch import Tensor

from cdmllab.margins.class_sizes import ClassSizes
from cdmllab.margins.policy import Batch, Gradient, MarginPolicy, check_range
from cdmllab.margins.registry import register


@register(
    "ldam",
    year=2019,
    label="LDAM",
    moved_by=("class",),
    direction="rarer identities get the larger margin",
)
class LDAM(MarginPolicy):
    """cos theta - m_y, m_y proportional to n_y^(-1/4) (Cao et al., 2019, arXiv 1906.07413_).

    n_y is the number of training images of the identity. The paper derives the power from a bound
    on the error of two classes that share a fixed sum of margins. The rarest identity gets
    `margin_cos`, as in the authors' code_. There, too, embeddings and class centres have length 1,
    and the scale is 30. The paper's deferred re-weighting is a schedule of sample weights and not
    part of the loss.

    Without known class sizes all identities have the largest margin, which is CosFace, and training
    is refused.

    Parameters
    ----------
    num_identities : c
    class_sizes : n, the training images of each identity, shape (c,)
    margin_cos : the margin of the rarest identity, subtracted from the cosine; 0 is neutral
    power : by which power of 1 / n_y margins fall, in [0, 1]; with 0 all are equal
    gradient : see `MarginPolicy`

    .. _1906.07413: https://arxiv.org/abs/1906.07413
    .. _code: https://github.com/kaidic/LDAM-DRW/blob/2536330f2afdaa65618323cb5a5850efccce762a/losses.py
    """

    def __init__(
        self,
        *,
        num_identities: int,
        class_sizes: ArrayLike | Tensor | None = None,
        margin_cos: float = 0.5,
        power: float = 0.25,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(gradient=gradient)
        check_range("margin_cos", margin_cos, 0.0, 2.0)
        check_range("power", power, 0.0, 1.0)
        self.margin_cos, self.power = margin_cos, power
        self.class_sizes = ClassSizes(num_identities, class_sizes)

    def observe(self, batch: Batch) -> None:
        """Refuse to train without class sizes."""
        self.class_sizes.require("ldam")

    def margins_cos(self) -> Tensor:
        """The margin of every identity; shape (c,)."""
        sizes = self.class_sizes.sizes()
        # Relative to the smallest class, whose margin is then exactly margin_cos.
        return self.margin_cos * (sizes / sizes.min()).pow(-self.power)

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos theta - m_y; shape (b,) to (b,)."""
        return target_cos - self.margins_cos()[batch.labels].to(target_cos.dtype)

    def describe(self) -> str:
        return (
            f"cos θ - m_y, m_y = {self.margin_cos:g} for the rarest identity and falling with "
            f"n_y^-{self.power:g}"
        )
