"""CDML: ArcFace with a margin that follows the difficulty of each sample."""

import math
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from cdmllab.easiness import (
    ClassEasiness,
    easiness_from_angle_gap,
    easiness_from_gap,
    easiness_from_similarity,
    recentre,
)
from cdmllab.margins.angular import AngularMargin, BeyondPi, add_angle
from cdmllab.margins.policy import Batch, Gradient, check_choice, check_range
from cdmllab.margins.registry import register

Easiness = Literal["similarity", "gap", "angle_gap", "known"]
Shape = Literal["step", "linear"]
Favour = Literal["easy", "hard"]
Schedule = Literal["constant", "linear", "cosine"]

# What both forms of DATN's code share: the plain formula past pi, a guard, and a full
# derivative.
_DATN_CODE: dict[str, object] = {
    "shape": "linear",
    "favour": "hard",
    "beyond_pi": "none",
    "never_above": True,
    "detach_margin": False,
}


@register(
    "cdml",
    year=2025,
    moved_by=("angle",),
    direction="easy samples, near their centre, get the larger margin; options take the gap, the "
    "class or the time instead, or favour hard samples",
)
class CDML(AngularMargin):
    """cos(theta + m_i) with m_i = m_base (1 + alpha e_i), e_i the signed easiness of sample i in
    [-1, 1].

    The method has one source, the repository DATN_, whose results page (here ``datn_page``) and
    whose code (``datn_code``) disagree; there is a constructor for each. The defaults follow the
    page: base margin 0.49, easy samples times 1.2, hard ones times 0.8. Every part can be switched
    off, and ``alpha=0`` is ArcFace to the bit.

    Parameters
    ----------
    margin_rad : m_base in radians, in [0, pi)
    alpha : how far the margin moves, in [0, 1]; 0 is ArcFace
    easiness : what e_i looks at, see `cdmllab.easiness`: ``"similarity"`` to the own class centre,
        the ``"gap"`` to the best foreign centre, or that gap in angles; ``"known"`` takes the truth
        that the head is given with the batch: an oracle, and the bound of what any score could do
    pivot : the easiness that counts as neither easy nor hard, in (-1, 1); None takes 0.5 for
        similarity (the page gives no number; 60 degrees is ours) and 0 for the others; 0 is
        neutral
    shape : ``"step"`` uses the sign of e_i alone, ``"linear"`` its value
    favour : who gets the larger margin: ``"easy"`` (DATN's page) or ``"hard"`` (DATN's code)
    schedule : how alpha grows with training progress: ``"constant"`` (neutral), ``"linear"``,
        ``"cosine"``
    class_weight : share of the identity's running easiness in e_i, in [0, 1]; 0 is neutral
    num_identities : needed when `class_weight` > 0
    match_mean : shift all margins of a batch so that their mean is `margin_rad`, before
        `easy_margin` leaves any out; False is neutral
    never_above : keep the target at or below the plain cosine (the guard of DATN's code); False is
        neutral
    detach_margin : treat m_i as a constant in the gradient; False differentiates through e_i too
        (DATN's code), which has an effect only where e_i is continuous, with ``shape="linear"``
    beyond_pi, easy_margin, gradient : as for ArcFace

    .. _DATN: https://github.com/nhatky160103/DATN
    """

    def __init__(
        self,
        *,
        margin_rad: float = 0.49,
        alpha: float = 0.2,
        easiness: Easiness = "similarity",
        pivot: float | None = None,
        shape: Shape = "step",
        favour: Favour = "easy",
        schedule: Schedule = "constant",
        class_weight: float = 0.0,
        num_identities: int | None = None,
        match_mean: bool = False,
        never_above: bool = False,
        detach_margin: bool = True,
        beyond_pi: BeyondPi = "linear",
        easy_margin: bool = False,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__(beyond_pi=beyond_pi, easy_margin=easy_margin, gradient=gradient)
        check_range("margin_rad", margin_rad, 0.0, math.pi)
        check_range("alpha", alpha, 0.0, 1.0)
        check_range("class_weight", class_weight, 0.0, 1.0)
        for name, value, kind in (
            ("easiness", easiness, Easiness),
            ("shape", shape, Shape),
            ("favour", favour, Favour),
            ("schedule", schedule, Schedule),
        ):
            check_choice(name, value, get_args(kind))
        self.base_margin_rad, self.alpha = margin_rad, alpha
        self.kind: Easiness = easiness
        self.statistics = ("hardest_negative",) if easiness in ("gap", "angle_gap") else ()
        self.pivot = pivot if pivot is not None else (0.5 if easiness == "similarity" else 0.0)
        check_range("pivot", self.pivot, -0.999, 0.999)
        self.shape: Shape = shape
        self.favour: Favour = favour
        self.schedule: Schedule = schedule
        self.class_weight = class_weight
        self.class_easiness: ClassEasiness | None = None
        if class_weight > 0.0:
            if num_identities is None:
                raise ValueError(
                    "class_weight > 0 keeps one number an identity: give num_identities"
                )
            self.class_easiness = ClassEasiness(num_identities)
        self.match_mean, self.never_above, self.detach_margin = (
            match_mean,
            never_above,
            detach_margin,
        )

    @classmethod
    def datn_page(cls, **changes: object) -> Self:
        """Text and diagram of DATN's page: m 0.49, easy samples x 1.2, hard ones x 0.8."""
        return cls(**changes)  # type: ignore[arg-type]

    @classmethod
    def datn_code_gap(cls, m2: float = 0.5, alpha: float = 0.1, **changes: object) -> Self:
        """The gap form of DATN's code, m_i = m2 + alpha (1 - (cos_y - max cos_j)): hard samples
        larger.

        In the terms of this class: m_base = m2 + alpha and a relative step of 2 alpha / m_base.
        """
        base = m2 + alpha
        options = {
            "margin_rad": base,
            "alpha": 2.0 * alpha / base,
            "easiness": "gap",
            **_DATN_CODE,
            **changes,
        }
        return cls(**options)  # type: ignore[arg-type]

    @classmethod
    def datn_code_angle_gap(cls, m2: float = 0.5, alpha: float = 0.1, **changes: object) -> Self:
        """The angular form of DATN's code, m_i = m2 + alpha clip(pi/2 - (theta_neg - theta_y), 0,
        pi/3).

        In the terms of this class: m_base = m2 + alpha pi/6 and a relative step of (alpha pi/6) /
        m_base.
        """
        half = alpha * math.pi / 6.0
        base = m2 + half
        options = {
            "margin_rad": base,
            "alpha": half / base,
            "easiness": "angle_gap",
            **_DATN_CODE,
            **changes,
        }
        return cls(**options)  # type: ignore[arg-type]

    def current_alpha(self, progress: float) -> float:
        """alpha after the schedule, for training progress in [0, 1]."""
        if self.schedule == "linear":
            return self.alpha * progress
        if self.schedule == "cosine":
            return self.alpha * 0.5 * (1.0 - math.cos(math.pi * progress))
        return self.alpha

    def _own_easiness(self, batch: Batch) -> Tensor:
        if self.kind == "known":
            if batch.known_easiness is None:
                raise ValueError(
                    "easiness='known' needs the true easiness of each sample: head(embeddings, "
                    "labels, truth)"
                )
            raw = batch.known_easiness
        elif self.kind == "similarity":
            raw = easiness_from_similarity(batch.target_cos)
        else:
            if batch.hardest_negative is None:
                raise ValueError(
                    f"easiness={self.kind!r} needs batch.hardest_negative, which is None"
                )
            score = easiness_from_gap if self.kind == "gap" else easiness_from_angle_gap
            raw = score(batch.target_cos, batch.hardest_negative)
        return recentre(raw, self.pivot)

    def easiness(self, batch: Batch) -> Tensor:
        """e_i before the step, the class term mixed in; shape (b,), in [-1, 1]."""
        own = self._own_easiness(batch)
        if self.class_easiness is None:
            return own
        return torch.lerp(own, self.class_easiness(batch.labels).to(own.dtype), self.class_weight)

    def observe(self, batch: Batch) -> None:
        """Take the batch into the running easiness of its identities."""
        if self.class_easiness is not None:
            self.class_easiness.update(batch.labels, self._own_easiness(batch))

    def margin_rad(self, batch: Batch) -> Tensor:
        """m_i = m_base (1 + alpha e_i), sign and step applied; shape (b,), radians."""
        e = self.easiness(batch)
        if self.detach_margin:
            e = e.detach()
        if self.shape == "step":
            e = torch.sign(e)
        if self.favour == "hard":
            e = -e
        change = self.current_alpha(batch.progress) * e
        if self.match_mean and len(change):
            change = change - change.mean()
        return self.in_force(self.base_margin_rad * (1.0 + change), batch.target_cos)

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta + m_i); shape (b,) to (b,)."""
        pushed = add_angle(target_cos, self.margin_rad(batch), self.beyond_pi)
        return torch.minimum(pushed, target_cos) if self.never_above else pushed

    def describe(self) -> str:
        what = {
            "similarity": "similarity to the own class centre",
            "gap": "gap to the hardest foreign centre",
            "angle_gap": "angle gap to the hardest foreign centre",
            "known": "truth that comes with the batch",
        }[self.kind]
        low, high = (self.base_margin_rad * (1.0 + sign * self.alpha) for sign in (-1.0, 1.0))
        parts = [
            f"cos(θ + m_i), m_i = {self.base_margin_rad:g} (1 "
            f"{'+' if self.favour == 'easy' else '-'} "
            f"{self.alpha:.3g} e_i) rad, from {low:.3g} to {high:.3g}; {self.favour} samples get "
            f"the larger",
            f"e_i: {self.shape} in the {what}"
            + (f", neutral at {self.pivot:g}" if self.pivot else ""),
        ]
        if self.schedule != "constant":
            parts.append(f"alpha grows with training progress ({self.schedule})")
        if self.class_weight:
            parts.append(f"{self.class_weight:.0%} of e_i is the identity's running easiness")
        if self.match_mean:
            parts.append("batch-mean margin held at the base")
        return "; ".join(parts) + self.exception()
