"""MV-Softmax: negatives above the target are raised, so misclassified samples weigh more."""

from typing import Literal, get_args

import torch
from torch import Tensor

from cdmllab.margins.angular import AngularMargin, BeyondPi, add_angle
from cdmllab.margins.policy import Batch, Gradient, check_choice, check_range
from cdmllab.margins.registry import register

Reweight = Literal["adaptive", "fixed"]


@register(
    "mv_softmax",
    year=2019,
    label="MV-Softmax",
    moved_by=("gap",),
    direction="negatives above the margined target count more",
)
class MVSoftmax(AngularMargin):
    """Negatives above the margined target become (t + 1) cos_j + t.

    The method is of Wang et al., 2020, arXiv 1912.00833_. The rule above is ``"adaptive"``; with
    ``reweight="fixed"`` these negatives become cos_j + t.

    The default margin is CosFace's (MV-AM-Softmax); ``margin_cos=0, margin_rad=0.5`` is
    MV-Arc-Softmax. Which negatives are hard is decided by the plain formula of the margined target,
    cos(theta + margin_rad) - margin_cos, regardless of `beyond_pi` and `easy_margin`, as in the
    authors' code (`SV-X-Softmax`_). That code trains with ``easy_margin=True`` for both margins,
    and otherwise applies ``beyond_pi="none"``. The same group's FaceX-Zoo_ has
    ``easy_margin=True`` for the angular margin, and subtracts the cosine margin only where the
    result stays positive, a rule that is not available here.

    Parameters
    ----------
    t : how far hard negatives are raised, in [0, 2]; 0 has no effect
    margin_cos, margin_rad : the target is cos(theta + margin_rad) - margin_cos
    reweight : ``"adaptive"`` or ``"fixed"``, see above
    beyond_pi, easy_margin, gradient : as for ArcFace

    .. _SV-X-Softmax: https://github.com/xiaoboCASIA/SV-X-Softmax/blob/master/fc_layers.py
    .. _FaceX-Zoo: https://github.com/JDAI-CV/FaceX-Zoo/blob/main/head/MV_Softmax.py
    .. _1912.00833: https://arxiv.org/abs/1912.00833
    """

    def __init__(
        self,
        *,
        t: float = 0.2,
        margin_cos: float = 0.35,
        margin_rad: float = 0.0,
        reweight: Reweight = "adaptive",
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient)
        check_range("t", t, 0.0, 2.0)
        check_range("margin_cos", margin_cos, 0.0, 2.0)
        check_range("margin_rad", margin_rad, 0.0, 3.1)
        check_choice("reweight", reweight, get_args(Reweight))
        self.t, self.margin_cos, self.m2 = t, margin_cos, margin_rad
        self.reweight: Reweight = reweight

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta + margin_rad) - margin_cos; shape (b,) to (b,)."""
        angular, additive = (
            self.in_force(torch.full_like(target_cos, margin), target_cos)
            for margin in (self.m2, self.margin_cos)
        )
        return add_angle(target_cos, angular, self.beyond_pi) - additive

    def negatives(self, cosines: Tensor, batch: Batch) -> Tensor:
        """Raise the negatives above the margined target; shape (b, c) to (b, c)."""
        target = batch.target_cos.detach()
        level = add_angle(target, torch.full_like(target, self.m2), "none") - self.margin_cos
        # "adaptive" is cos_j + t (cos_j + 1): the nearer a negative, the more it is raised.
        raised = (
            (self.t + 1.0) * cosines + self.t if self.reweight == "adaptive" else cosines + self.t
        )
        return torch.where(cosines > level.unsqueeze(1), raised, cosines)

    def describe(self) -> str:
        margin = f"cos(θ + {self.m2:g}) - {self.margin_cos:g}"
        raised = (
            f"{self.t + 1.0:g} cos_j + {self.t:g}"
            if self.reweight == "adaptive"
            else f"cos_j + {self.t:g}"
        )
        return f"{margin}; negatives above it become {raised}{self.exception()}"
