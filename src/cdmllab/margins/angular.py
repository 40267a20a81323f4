"""The angular margin itself: cos(m1 theta + m2) - m3, and what to do beyond pi."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from cdmllab.geometry import angle, sine
from cdmllab.margins.policy import Gradient, MarginPolicy, check_choice

BeyondPi = Literal["linear", "clip", "none"]


class AngularMargin(MarginPolicy):
    """Base of the losses that add to the angle of the target.

    Parameters
    ----------
    beyond_pi : what stands past theta = pi - m, see `add_angle`
    gradient : see `MarginPolicy`
    """

    def __init__(self, *, beyond_pi: BeyondPi = "linear", gradient: Gradient = "exact") -> None:
        super().__init__(gradient=gradient)
        check_choice("beyond_pi", beyond_pi, get_args(BeyondPi))
        self.beyond_pi: BeyondPi = beyond_pi


def add_angle(cosines: Tensor, margin_rad: Tensor, beyond_pi: BeyondPi = "linear") -> Tensor:
    """cos(theta + m) from cos(theta), without an arc cosine: c cos m - sin(theta) sin m.

    Past theta = pi - m the cosine would rise again and reward a worse angle. `beyond_pi` says what stands
    there instead: ``"linear"`` c - m sin m (the CurricularFace authors' code), ``"clip"`` the value at pi, -1
    (AdaFace's code), ``"none"`` the plain formula (arcface_torch).

    Parameters
    ----------
    cosines : Tensor of shape (b,)
    margin_rad : Tensor of shape (b,), in (-pi, pi); with a negative one (AdaFace has them) cos(theta + m) ends at
        1, where theta + m is 0, unless `beyond_pi` is ``"none"``

    Returns
    -------
    Tensor of shape (b,).
    """
    cos_m, sin_m = torch.cos(margin_rad), torch.sin(margin_rad)
    pushed = cosines * cos_m - sine(cosines) * sin_m
    if beyond_pi == "none":
        return pushed
    pushed = torch.where((margin_rad < 0.0) & (cosines > cos_m), 1.0, pushed)
    past = (margin_rad > 0.0) & (cosines < -cos_m)  # theta > pi - m
    if beyond_pi == "clip":
        return torch.where(past, -1.0, pushed)
    return torch.where(past, cosines - margin_rad * sin_m, pushed)


def combined(
    cosines: Tensor,
    m1: float = 1.0,
    m2: float = 0.0,
    m3: float = 0.0,
    beyond_pi: BeyondPi = "linear",
) -> Tensor:
    """cos(m1 theta + m2) - m3 (ArcFace, equation 4): SphereFace's, ArcFace's and CosFace's margin in one.

    With ``beyond_pi="linear"`` the part past pi is ``c - d sin d - m3``, d the push at the angle where
    m1 theta + m2 reaches pi; for m1 = 1 that is c - m2 sin m2 - m3.

    Parameters
    ----------
    cosines : Tensor of any shape
    m1 : factor on the angle, > 0
    m2 : added to the angle, radians
    m3 : taken from the cosine

    Returns
    -------
    Tensor of the same shape.
    """
    if m1 == 1.0:
        return add_angle(cosines, torch.full_like(cosines, m2), beyond_pi) - m3
    total = m1 * angle(cosines) + m2
    if beyond_pi == "none":
        return torch.cos(total) - m3
    if beyond_pi == "clip":
        return torch.cos(total.clamp_max(math.pi)) - m3
    push = math.pi - (math.pi - m2) / m1
    return torch.where(total > math.pi, cosines - push * math.sin(push), torch.cos(total)) - m3
