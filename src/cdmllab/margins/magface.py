"""MagFace: the length of the embedding is a measure of quality and sets the margin."""

from torch import Tensor

from cdmllab.margins.angular import AngularMargin, BeyondPi, add_angle
from cdmllab.margins.policy import Batch, Gradient, check_range
from cdmllab.margins.registry import register


@register(
    "magface",
    year=2021,
    moved_by=("norm",),
    direction="longer embeddings get the larger margin",
)
class MagFace(AngularMargin):
    """cos(theta + m(a)) on the target, plus the regulariser lambda_g g(a).

    The method is of Meng et al., 2021, arXiv 2103.06627_. a is the length of the embedding, clipped
    to [low, high]. m(a) rises linearly from `low_margin_rad` at `low` to `high_margin_rad` at
    `high`, and g(a) = 1/a + a/high^2 rewards longer embeddings. The length is not detached: it
    receives a gradient from both m and g, but only between `low` and `high`, as in the authors'
    code (with the straight-through gradient from g only). The low margin is 0.45 in their code and
    0.4 in the paper.

    The authors trained with ``easy_margin=True``, the default of both their heads (magface.py_,
    parallel_maglinear.py); the paper's equation applies the margin everywhere, and so does the
    default here. Without the easy margin their code continues linearly past pi.

    Parameters
    ----------
    low, high : the range that a is clipped to, in [0.001, 1e6]
    low_margin_rad, high_margin_rad : the margins at its ends, radians
    lambda_g : weight of the regulariser; 0 disables it
    beyond_pi, easy_margin, gradient : as for ArcFace

    .. _magface.py: https://github.com/IrvingMeng/MagFace/blob/main/models/magface.py
    .. _2103.06627: https://arxiv.org/abs/2103.06627
    """

    def __init__(
        self,
        *,
        low: float = 10.0,
        high: float = 110.0,
        low_margin_rad: float = 0.45,
        high_margin_rad: float = 0.8,
        lambda_g: float = 35.0,
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient)
        check_range("high", high, 1e-3, 1e6)
        check_range("low", low, 1e-3, high)
        if low == high:
            raise ValueError(f"low must be below high, got {low:g} for both")
        check_range("low_margin_rad", low_margin_rad, 0.0, 3.1)
        check_range("high_margin_rad", high_margin_rad, low_margin_rad, 3.1)
        check_range("lambda_g", lambda_g, 0.0, 1e6)
        self.low, self.high = low, high
        self.low_margin_rad, self.high_margin_rad = low_margin_rad, high_margin_rad
        self.lambda_g = lambda_g

    def margin_rad(self, batch: Batch) -> Tensor:
        """m(a) of each sample; shape (b,), radians."""
        a = batch.embedding_norm.clamp(self.low, self.high)
        # 0 at `low` and 1 at `high`. Beyond these lengths `clamp` has no gradient.
        share = (a - self.low) / (self.high - self.low)
        margin = self.low_margin_rad + (self.high_margin_rad - self.low_margin_rad) * share
        return self.in_force(margin, batch.target_cos)

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta + m(a)); shape (b,) to (b,)."""
        return add_angle(target_cos, self.margin_rad(batch).to(target_cos.dtype), self.beyond_pi)

    def regulariser(self, batch: Batch) -> Tensor | None:
        """lambda_g (1/a + a/high^2); shape (b,)."""
        if not self.lambda_g:
            return None
        a = batch.embedding_norm.clamp(self.low, self.high)
        return self.lambda_g * (1.0 / a + a / self.high**2)

    def describe(self) -> str:
        return (
            f"cos(θ + m(a)), m from {self.low_margin_rad:g} rad at length {self.low:g} "
            f"to {self.high_margin_rad:g} at {self.high:g}; plus {self.lambda_g:g} (1/a + "
            f"a/{self.high:g}²)"
            f"{self.exception()}"
        )
