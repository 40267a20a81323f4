"""The angular margin cos(m1 theta + m2) - m3, its form beyond pi, and the easy margin."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from cdmllab.geometry import angle, sine
from cdmllab.margins.policy import Gradient, MarginPolicy, check_choice

BeyondPi = Literal["linear", "clip", "plain", "none"]


class AngularMargin(MarginPolicy):
    """Base of the losses that add a margin to the angle of the target.

    Parameters
    ----------
    beyond_pi : the rule for the target past theta = pi - m, see `add_angle`
    easy_margin : apply the margin only where the target cosine is positive, that is, where the
        embedding is within 90 degrees of the target centre; elsewhere the target is the plain
        cosine. False applies it everywhere. With True and m at most pi/2, `beyond_pi` has no
        effect, because pi - m is then 90 degrees or more.
    gradient : see `MarginPolicy`
    """

    def __init__(
        self,
        *,
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(gradient=gradient)
        check_choice("beyond_pi", beyond_pi, get_args(BeyondPi))
        if not isinstance(easy_margin, bool):
            raise ValueError(f"easy_margin must be True or False; got {easy_margin!r}")
        self.beyond_pi: BeyondPi = beyond_pi
        self.easy_margin = easy_margin

    def in_force(self, margin: Tensor, target_cos: Tensor) -> Tensor:
        """The margin of each sample, 0 where `easy_margin` disables it; (b,), (b,) to (b,)."""
        return torch.where(target_cos > 0.0, margin, 0.0) if self.easy_margin else margin

    def exception(self) -> str:
        """The sentence for `describe` about samples without a margin; empty without any."""
        return "; no margin at 90° and beyond" if self.easy_margin else ""


def add_angle(cosines: Tensor, margin_rad: Tensor, beyond_pi: BeyondPi = "linear") -> Tensor:
    """cos(theta + m) from c = cos(theta), without an arc cosine: c cos(m) - sin(theta) sin(m).

    Past theta = pi - m, cos(theta + m) rises again and would reward a worse angle. `beyond_pi`
    chooses the target there:

    - ``"linear"``: c - m sin(m), as in InsightFace's MXNet code of 2018_ and in CurricularFace's;
    - ``"clip"``: -1, the value at theta + m = pi, as in AdaFace's code;
    - ``"plain"``: c, the cosine without a margin, as in `FaceX-Zoo's ArcFace`_;
    - ``"none"``: cos(theta + m) everywhere, as in arcface_torch.

    At theta = pi - m the target jumps from -1 up to -cos(m) with ``"plain"`` and down to
    -cos(m) - m sin(m) with ``"linear"``; the other two rules are continuous.

    .. _2018: https://github.com/deepinsight/insightface/blob/02cbf7bdcfcab73f94a0a9ccabdf7a713b0b3e6c/src/train_softmax.py
    .. _FaceX-Zoo's ArcFace: https://github.com/JDAI-CV/FaceX-Zoo/blob/main/head/ArcFace.py

    Parameters
    ----------
    cosines : Tensor of shape (b,)
    margin_rad : Tensor of shape (b,), in (-pi, pi). With a negative margin, as in AdaFace, the
        target stays at 1 where theta + m is below 0, unless `beyond_pi` is ``"none"``

    Returns
    -------
    Tensor of shape (b,).
    """
    cos_m, sin_m = torch.cos(margin_rad), torch.sin(margin_rad)
    margined = cosines * cos_m - sine(cosines) * sin_m
    if beyond_pi == "none":
        return margined
    # Where theta + m is below 0 the cosine would fall again: keep it at its largest value.
    margined = torch.where((margin_rad < 0.0) & (cosines > cos_m), 1.0, margined)
    past = (margin_rad > 0.0) & (cosines < -cos_m)  # theta > pi - m
    if beyond_pi == "clip":
        return torch.where(past, -1.0, margined)
    if beyond_pi == "plain":
        return torch.where(past, cosines, margined)
    return torch.where(past, cosines - margin_rad * sin_m, margined)


def combined(
    cosines: Tensor,
    m1: float = 1.0,
    m2: float = 0.0,
    m3: float = 0.0,
    beyond_pi: BeyondPi = "linear",
) -> Tensor:
    """cos(m1 theta + m2) - m3, the margins of SphereFace, ArcFace and CosFace combined.

    It is equation 4 of the ArcFace paper (https://arxiv.org/abs/1801.07698). With
    ``beyond_pi="linear"`` the target past m1 theta + m2 = pi is c - d sin(d) - m3, where d is the
    angle added at that point, pi - (pi - m2) / m1; for m1 = 1 this is c - m2 sin(m2) - m3. With
    ``"plain"`` it is c - m3.

    Parameters
    ----------
    cosines : Tensor of any shape
    m1 : factor on the angle, > 0
    m2 : angle to add, radians
    m3 : cosine to subtract
    beyond_pi : see `add_angle`

    Returns
    -------
    Tensor of the same shape.
    """
    # Without a factor on the angle no arc cosine is needed.
    if m1 == 1.0:
        return add_angle(cosines, torch.full_like(cosines, m2), beyond_pi) - m3
    total = m1 * angle(cosines) + m2  # radians
    if beyond_pi == "none":
        return torch.cos(total) - m3
    if beyond_pi == "clip":
        return torch.cos(total.clamp_max(math.pi)) - m3
    if beyond_pi == "plain":
        return torch.where(total > math.pi, cosines, torch.cos(total)) - m3
    # The total reaches pi at theta = (pi - m2) / m1.
    added = math.pi - (math.pi - m2) / m1
    return torch.where(total > math.pi, cosines - added * math.sin(added), torch.cos(total)) - m3
