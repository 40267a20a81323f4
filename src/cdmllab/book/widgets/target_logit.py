"""The target-logit explorer: target logit, loss and gradient as functions of the angle."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
import traitlets
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdmllab import margins
from cdmllab.analysis.target_curve import target_curve
from cdmllab.book.widgets.base import Widget, packed
from cdmllab.margins import Batch, MarginPolicy
from cdmllab.margins.adaface import AdaFace
from cdmllab.margins.cdml import Easiness, Favour, Shape
from cdmllab.margins.curricularface import CurricularFace
from cdmllab.margins.elasticface import ElasticFace
from cdmllab.margins.policy import Gradient

Floats = NDArray[np.float64]

# The losses whose formulas the widget's JavaScript knows, with the option of the loss that each of
# the widget's values sets. The values start from the options' defaults.
_WRITTEN: dict[str, dict[str, str]] = {
    "normface": {},
    "sphereface": {"m1": "factor", "softening": "anneal_to"},
    "cosface": {"m3": "margin_cos"},
    "arcface": {"m2": "margin_rad"},
    "combined": {"m1": "m1", "m2": "margin_rad", "m3": "margin_cos"},
    "liarcface": {"m2": "margin_rad"},
    "adacos": {},
    "subcenter_arcface": {"m2": "margin_rad"},
    "curricularface": {"m2": "margin_rad"},
    "mv_softmax": {"m2": "margin_rad", "m3": "margin_cos", "boost": "t"},
    "npcface": {"m2": "margin_rad"},
    "magface": {},
    "adaface": {"m2": "margin"},
    "elasticface": {"m2": "margin_rad"},
    "kappaface": {"m2": "margin_rad"},
    "cdml": {
        "m2": "margin_rad",
        "alpha": "alpha",
        "easiness": "easiness",
        "shape": "shape",
        "favour": "favour",
    },
}


def _can_be_sampled(name: str) -> bool:
    """Whether a loss's target depends on the angle alone and its negatives are unchanged."""
    loss = margins.create(name, **_SIZES)
    plain = loss.uses_cosine and loss.reduction == "logsumexp" and not loss.changes_negatives
    return plain and not loss.statistics and not loss.offsets_classes


_SIZES: dict[str, Any] = {"num_identities": 10_000, "embedding_dim": 2}
SAMPLED = tuple(name for name in margins.names() if name not in _WRITTEN and _can_be_sampled(name))
OPTIONS: dict[str, dict[str, str]] = {**_WRITTEN, **{name: {} for name in SAMPLED}}
IDENTITIES = (2, 10, 100, 1_000, 10_000, 100_000)
_BeyondPi = Literal["linear", "clip", "none"]  # the rules that the widget draws
# The scores that can be computed from two angles.
EASINESS: tuple[Easiness, ...] = ("similarity", "gap", "angle_gap")
_FLAT = 1e-4  # radians from 0 and pi within which the slope of the cosine is too small to divide by
_MEAN_LENGTH = 50.0  # AdaFace's running mean; any value will do, because the widget sets z directly


class Curves(NamedTuple):
    """The package's values at n angles; each of shape (n,)."""

    psi: Floats  # the target cosine after the margin
    logit: Floats  # s psi
    loss: Floats
    # derivative of the loss with respect to the angle, in 1 / rad: positive turns the sample
    # towards its target centre
    pull: Floats
    pull_straight_through: Floats  # the same with d(target)/d(cosine) = 1


class TargetLogit(Widget):
    """Target logit, loss and gradient of every margin softmax over the angle, with NormFace's.

    The sample has some angle to its target centre, and all negative centres have the same angle to
    the sample. Every value can be set from Python and changes when the reader moves a control;
    values that are not given start from the defaults of the loss.

    Parameters
    ----------
    loss : one of `OPTIONS`
    m1 : factor on the angle, in [0.5, 4]
    m2 : added to the angle, radians, in [0, 1]
    m3 : subtracted from the cosine, in [0, 1]
    s : scale, in [1, 64]; AdaCos uses its own
    beyond_pi : see `cdmllab.margins.angular.combined`
    softening : SphereFace's lambda, in [0, 20]
    boost : t of MV-Softmax and CurricularFace, in [0, 1]
    alpha, easiness, shape, favour : options of CDML
    quality : AdaFace's z, in [-1, 1]
    length : length of the embedding, MagFace's a, in [1, 120]
    draw : ElasticFace's random draw, in standard deviations, in [-3, 3]
    weight : KappaFace's psi, in [0, 1]
    theta_deg : angle of the marker, degrees, in [0, 180]
    negative_deg : angle to the negative centres, degrees, in [0, 180]
    identities : number of class centres, one of `IDENTITIES`
    shows : the quantity in the plot, ``"logit"``, ``"loss"`` or ``"gradient"``
    """

    name = "target_logit"
    parts = ("margins", "losses")
    fallback = (
        "Interactive figure: target logit, loss and gradient of a margin softmax against the "
        "angle to the target centre, with sliders for its margins and the scale. It needs "
        "JavaScript."
    )

    loss = traitlets.Enum(tuple(OPTIONS), default_value="arcface").tag(sync=True)
    m1 = traitlets.Float(1.0, min=0.5, max=4.0).tag(sync=True)
    m2 = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    m3 = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    s = traitlets.Float(64.0, min=1.0, max=64.0).tag(sync=True)
    beyond_pi = traitlets.Enum(get_args(_BeyondPi), default_value="linear").tag(sync=True)
    softening = traitlets.Float(5.0, min=0.0, max=20.0).tag(sync=True)
    boost = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    alpha = traitlets.Float(0.2, min=0.0, max=1.0).tag(sync=True)
    easiness = traitlets.Enum(EASINESS, default_value="similarity").tag(sync=True)
    shape = traitlets.Enum(get_args(Shape), default_value="step").tag(sync=True)
    favour = traitlets.Enum(get_args(Favour), default_value="easy").tag(sync=True)
    quality = traitlets.Float(0.0, min=-1.0, max=1.0).tag(sync=True)
    length = traitlets.Float(60.0, min=1.0, max=120.0).tag(sync=True)
    draw = traitlets.Float(0.0, min=-3.0, max=3.0).tag(sync=True)
    weight = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    theta_deg = traitlets.Float(60.0, min=0.0, max=180.0).tag(sync=True)
    negative_deg = traitlets.Float(90.0, min=0.0, max=180.0).tag(sync=True)
    identities = traitlets.Enum(IDENTITIES, default_value=10_000).tag(sync=True)
    shows = traitlets.Enum(("logit", "loss", "gradient"), default_value="logit").tag(sync=True)
    sampled = traitlets.List(traitlets.Dict()).tag(sync=True)

    @traitlets.default("sampled")
    def _sampled(self) -> list[dict[str, str]]:
        return [sampled(name) for name in SAMPLED]

    def __init__(self, **values: Any) -> None:
        super().__init__(**{**defaults(values.get("loss", "arcface")), **values})

    def policy(self, gradient: Gradient = "exact") -> MarginPolicy:
        """The package's loss with the widget's values.

        Raises
        ------
        ValueError : this loss does not allow one of the values
        """
        options = {option: getattr(self, value) for value, option in OPTIONS[self.loss].items()}
        known = margins.options(self.loss)
        if self.loss in SAMPLED:
            return _create(self.loss, gradient, **_SIZES)  # default options only
        if "beyond_pi" in known:
            options["beyond_pi"] = self.beyond_pi
        if self.loss == "sphereface":
            options["anneal_from"] = self.softening
        elif self.loss == "npcface":
            options["margin_slope_rad"] = min(self.m2, float(str(known["margin_slope_rad"])))
        elif self.loss == "elasticface":
            return _Drawn(self.m2, self.draw, beyond_pi=self.beyond_pi, gradient=gradient)
        elif self.loss == "kappaface":
            # A new policy has seen no identity, so its own weight is 1.
            # The reader's weight therefore multiplies the margin.
            options["margin_rad"] = self.m2 * self.weight
        sizes: dict[str, int] = {"num_identities": self.identities, "embedding_dim": 2}
        policy = margins.create(self.loss, **sizes, gradient=gradient, **options)
        # Buffers that training would fill are set to the reader's values.
        if isinstance(policy, CurricularFace):
            policy.t.fill_(self.boost)
        if isinstance(policy, AdaFace):
            policy.mean.fill_(_MEAN_LENGTH)
            policy.std.fill_(1.0)
        return policy

    def curves(self, angles_deg: ArrayLike) -> Curves:
        """The package's values at some angles, degrees, shape (n,)."""
        theta = torch.deg2rad(torch.as_tensor(np.asarray(angles_deg, dtype=np.float64)).reshape(-1))
        psi, loss, _ = self._measured(theta, "exact")
        pull, straight = self._pull(theta, "exact"), self._pull(theta, "straight_through")
        scale = float(self.policy().current_scale(torch.tensor(self.s, dtype=torch.float64)))
        return Curves(*(part.numpy() for part in (psi, scale * psi, loss, pull, straight)))

    def _pull(self, theta: Tensor, gradient: Gradient) -> Tensor:
        """The derivative of the loss with respect to the angle."""
        return _to_the_ends(lambda at: self._measured(at, gradient)[2], theta)

    def _measured(self, theta: Tensor, gradient: Gradient) -> tuple[Tensor, Tensor, Tensor]:
        policy = self.policy(gradient)
        cosines = torch.cos(theta).requires_grad_()
        other = torch.cos(torch.deg2rad(torch.full_like(theta, self.negative_deg))).unsqueeze(1)
        batch = self._batch(policy, cosines, other)
        scale = policy.current_scale(torch.tensor(self.s, dtype=torch.float64)).to(theta.dtype)
        target = policy.margined(cosines, batch)
        # All negatives have the same logit, so their log-sum-exp only adds a logarithm.
        rest = scale * policy.negatives(other, batch)[:, 0] + math.log(self.identities - 1)
        # Cross-entropy of two logits; the high threshold
        # keeps PyTorch from its linear approximation.
        loss = torch.nn.functional.softplus(rest - scale * target, threshold=1e9)
        extra = policy.regulariser(batch)
        if extra is not None:
            loss = loss + extra
        (slope,) = torch.autograd.grad(loss.sum(), cosines)
        # By the chain rule: the cosine changes by -sin(theta) per radian.
        return target.detach(), loss.detach(), -slope * torch.sin(theta)

    def _batch(self, policy: MarginPolicy, cosines: Tensor, other: Tensor) -> Batch:
        length = torch.full_like(other[:, 0], self.length)
        # Choose the length whose z-score is `quality`, as AdaFace computes it.
        if isinstance(policy, AdaFace):
            length = _MEAN_LENGTH + self.quality / policy.h * (
                policy.std.double() + 1e-3
            ).expand_as(length)
        batch = Batch(
            torch.zeros(len(cosines), dtype=torch.int64),
            cosines,
            length,
            hardest_negative=other[:, 0],
        )
        # The mean of the hard negatives, which are all or none of them here.
        hard = torch.where(policy.hard(other, batch), other, 0.0)[:, 0]
        return replace(batch, hard_negative_mean=hard)


def sampled(name: str) -> dict[str, str]:
    """Sample a loss at every half degree, for a widget that does not know its formula.

    The loss has its default options. ``psi`` is the target cosine after the margin and ``slope``
    its derivative with respect to the angle, both of shape (361,), see
    `cdmllab.book.widgets.packed`.
    """
    policy = _create(name, "exact", **_SIZES)
    degrees = torch.arange(361, dtype=torch.float64) / 2.0
    theta = torch.deg2rad(degrees)

    def slope(theta: Tensor) -> Tensor:
        return -target_curve(policy, torch.cos(theta)).slope * torch.sin(theta)

    return {
        "name": name,
        "label": margins.label(name),
        "formula": policy.describe(),
        "psi": packed(target_curve(policy, torch.cos(theta)).target),
        "slope": packed(_to_the_ends(slope, theta)),
    }


def _to_the_ends(derivative: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """A derivative with respect to the angle, extrapolated at 0 and pi.

    There the slope of the cosine vanishes, and the derivative by the cosine may be infinite.
    """
    inside = theta.clamp(_FLAT, math.pi - _FLAT)
    # Linear extrapolation from the two nearest points that are safe, one twice as far as the other.
    near, further = derivative(inside), derivative(2.0 * inside - theta)
    return torch.where(inside == theta, near, 2.0 * near - further)


def _create(name: str, gradient: Gradient, **sizes: Any) -> MarginPolicy:
    """A loss with its default options; a plugin's loss may not have a `gradient` option."""
    policy = margins.create(name, **sizes)
    policy.gradient = gradient
    return policy


class _Drawn(ElasticFace):
    """ElasticFace with the same draw, in standard deviations, for all samples."""

    def __init__(
        self, margin_rad: float, draw: float, *, beyond_pi: _BeyondPi, gradient: Gradient
    ) -> None:
        super().__init__(margin_rad=margin_rad, beyond_pi=beyond_pi, gradient=gradient)
        self._drawn = margin_rad + self.sigma * draw

    def draws(self, batch: Batch) -> Tensor:
        return torch.full_like(batch.target_cos.detach(), self._drawn)


def defaults(loss: str) -> dict[str, Any]:
    """The defaults of a loss's options, under the names of the widget's values.

    Raises
    ------
    ValueError : the loss has no target curve
    """
    if loss not in OPTIONS:
        raise ValueError(f"loss must be one of {', '.join(OPTIONS)}; got {loss!r}")
    known = margins.options(loss)
    names = {"beyond_pi": "beyond_pi", **OPTIONS[loss]}
    return {value: known[option] for value, option in names.items() if option in known}
