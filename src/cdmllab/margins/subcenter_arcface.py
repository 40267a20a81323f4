"""Sub-center ArcFace: several class centres per identity, of which the nearest counts."""

from cdmllab.margins.angular import BeyondPi
from cdmllab.margins.arcface import ArcFace
from cdmllab.margins.policy import Gradient
from cdmllab.margins.registry import register


@register(
    "subcenter_arcface",
    year=2020,
    label="Sub-center ArcFace",
    moved_by=("nothing",),
    direction="one angle for all samples",
)
class SubcenterArcFace(ArcFace):
    """ArcFace with cos(theta) = the largest of each identity's K cosines (Deng et al., 2020_).

    Mislabelled and noisy samples can gather around a separate centre.
    ``centres_per_identity=1`` is ArcFace.

    Parameters
    ----------
    centres_per_identity : K, at least 1
    margin_rad, beyond_pi, easy_margin, gradient : as for ArcFace

    .. _2020: https://doi.org/10.1007/978-3-030-58621-8_43
    """

    def __init__(
        self,
        *,
        centres_per_identity: int = 3,
        margin_rad: float = 0.5,
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(
            margin_rad=margin_rad, beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient
        )
        if centres_per_identity < 1:
            raise ValueError(f"centres_per_identity must be at least 1, got {centres_per_identity}")
        self.centres_per_identity = centres_per_identity

    def describe(self) -> str:
        return (
            f"{super().describe()}; the nearest of {self.centres_per_identity} centres per identity"
        )
