"""ArcFace with dynamic margins: the rarer an identity, the larger its angle."""

from numpy.typing import ArrayLike
from torch import Tensor

from cdmllab.margins.angular import AngularMargin, BeyondPi, add_angle
from cdmllab.margins.class_sizes import ClassSizes
from cdmllab.margins.policy import Batch, Gradient, check_range
from cdmllab.margins.registry import register


@register(
    "dynamic_arcface",
    year=2020,
    label="ArcFace, dynamic margins",
    moved_by=("class",),
    direction="rarer identities get the larger margin",
)
class DynamicArcFace(AngularMargin):
    """cos(theta + m_y), m_y falling with the class size as n_y^(-1/4) (Ha et al., 2020, arXiv
    2010.05350_).

    The margins run from `high_margin_rad` for the smallest class to `low_margin_rad` for the
    largest, in proportion to n_y^-power in between. The powers of n are stretched to that range as
    in the authors' code_, which puts these margins on Sub-center ArcFace at a scale of 80 and
    counts the images of its validation folds too. It continues linearly past pi.

    The name is close to that of another loss, Dyn-arcFace (Jiao et al., 2021), whose margin follows
    the distances between class centres.

    Without known class sizes all identities have the largest margin, which is ArcFace, and training
    is refused.

    Parameters
    ----------
    num_identities : c
    class_sizes : n, the training images of each identity, shape (c,)
    low_margin_rad, high_margin_rad : the margins of the largest and of the smallest class, radians;
        where they are equal this is ArcFace
    power : by which power of 1 / n_y margins fall, in [0, 2]
    centres_per_identity : K, of which the nearest counts, as for Sub-center ArcFace
    beyond_pi, easy_margin, gradient : as for ArcFace

    .. _2010.05350: https://arxiv.org/abs/2010.05350
    .. _code: https://github.com/haqishen/Google-Landmark-Recognition-2020-3rd-Place-Solution/blob/a7947ff091662909ac32aa7fad1b4be5f4185122/train.py
    """

    def __init__(
        self,
        *,
        num_identities: int,
        class_sizes: ArrayLike | Tensor | None = None,
        low_margin_rad: float = 0.05,
        high_margin_rad: float = 0.5,
        power: float = 0.25,
        centres_per_identity: int = 3,
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient)
        check_range("low_margin_rad", low_margin_rad, 0.0, 3.1)
        check_range("high_margin_rad", high_margin_rad, low_margin_rad, 3.1)
        check_range("power", power, 0.0, 2.0)
        if centres_per_identity < 1:
            raise ValueError(f"centres_per_identity must be at least 1, got {centres_per_identity}")
        self.low_margin_rad, self.high_margin_rad = low_margin_rad, high_margin_rad
        self.power, self.centres_per_identity = power, centres_per_identity
        self.class_sizes = ClassSizes(num_identities, class_sizes)

    def observe(self, batch: Batch) -> None:
        """Refuse to train without class sizes."""
        self.class_sizes.require("dynamic_arcface")

    def margins_rad(self) -> Tensor:
        """The margin of every identity; shape (c,), radians."""
        fallen = self.class_sizes.sizes().pow(-self.power)  # [c]
        low, high = fallen.min(), fallen.max()
        share = ((fallen - low) / (high - low)).nan_to_num(nan=1.0)  # 0 / 0: all are of one size
        return self.low_margin_rad + (self.high_margin_rad - self.low_margin_rad) * share

    def margin_rad(self, batch: Batch) -> Tensor:
        """m_y of each sample; shape (b,), radians."""
        margin = self.margins_rad()[batch.labels].to(batch.target_cos.dtype)
        return self.in_force(margin, batch.target_cos)

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta + m_y); shape (b,) to (b,)."""
        return add_angle(target_cos, self.margin_rad(batch), self.beyond_pi)

    def describe(self) -> str:
        return (
            f"cos(θ + m_y), m_y from {self.high_margin_rad:g} rad for the smallest class down to "
            f"{self.low_margin_rad:g} for the largest, as n_y^-{self.power:g}; the nearest of "
            f"{self.centres_per_identity} centres an identity{self.exception()}"
        )
