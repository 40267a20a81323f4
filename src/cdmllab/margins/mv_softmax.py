"""MV-Softmax: misclassified samples weigh more, by raising the negatives that beat the target."""

from typing import Literal, get_args

import torch
from torch import Tensor

from cdmllab.margins.angular import AngularMargin, BeyondPi, add_angle
from cdmllab.margins.policy import Batch, Gradient, check_choice, check_range

Reweight = Literal["adaptive", "fixed"]


class MVSoftmax(AngularMargin):
    """Negatives above the margined target become (t + 1) cos_j + t (Wang et al., "Mis-classified Vector Guided
    Softmax", 2020), or cos_j + t with ``reweight="fixed"``.

    The default margin is CosFace's (MV-AM-Softmax); ``margin_cos=0, margin_rad=0.5`` is MV-Arc-Softmax.

    Parameters
    ----------
    t : how far hard negatives are raised, in [0, 2]; 0 changes nothing
    margin_cos, margin_rad : the target is cos(theta + margin_rad) - margin_cos
    reweight, beyond_pi, gradient : as said
    """

    changes_negatives = True

    def __init__(
        self,
        *,
        t: float = 0.2,
        margin_cos: float = 0.35,
        margin_rad: float = 0.0,
        reweight: Reweight = "adaptive",
        beyond_pi: BeyondPi = "linear",
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(beyond_pi=beyond_pi, gradient=gradient)
        check_range("t", t, 0.0, 2.0)
        check_range("margin_cos", margin_cos, 0.0, 2.0)
        check_range("margin_rad", margin_rad, 0.0, 3.1)
        check_choice("reweight", reweight, get_args(Reweight))
        self.t, self.margin_cos, self.m2 = t, margin_cos, margin_rad
        self.reweight: Reweight = reweight

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta + margin_rad) - margin_cos; shape (b,) to (b,)."""
        return add_angle(target_cos, torch.full_like(target_cos, self.m2), self.beyond_pi) - self.margin_cos

    def negatives(self, cosines: Tensor, batch: Batch) -> Tensor:
        """Raised where they beat the margined target; shape (b, c) to (b, c)."""
        level = self.target(batch.target_cos.detach(), batch).unsqueeze(1)
        raised = (self.t + 1.0) * cosines + self.t if self.reweight == "adaptive" else cosines + self.t
        return torch.where(cosines > level, raised, cosines)

    def describe(self) -> str:
        margin = f"cos(θ + {self.m2:g}) - {self.margin_cos:g}"
        raised = f"{self.t + 1.0:g} cos_j + {self.t:g}" if self.reweight == "adaptive" else f"cos_j + {self.t:g}"
        return f"{margin}; negatives above it count {raised}"
