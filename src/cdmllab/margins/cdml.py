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

# Options shared by both forms of DATN's code: the plain formula past pi, a guard that keeps the
# target at or below the plain cosine, and the full derivative through the margin.
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
    """cos(theta + m_i) with m_i = m_base (1 + alpha e_i), where e_i in [-1, 1] is easiness.

    The method has a single source, the repository DATN_, whose results page (here ``datn_page``)
    and code (``datn_code``) disagree; each has its own constructors. The defaults follow the page:
    a base margin of 0.49, multiplied by 1.2 for easy samples and by 0.8 for hard ones. The code
    gives hard samples the larger margin. Every part can be switched off, and ``alpha=0`` is
    ArcFace bit for bit.

    Parameters
    ----------
    margin_rad : m_base in radians, in [0, pi)
    alpha : how far the margin deviates from m_base, relative to it, in [0, 1]; 0 is ArcFace
    easiness : the score e_i, see `cdmllab.easiness`: ``"similarity"`` to the target centre,
        the ``"gap"`` to the hardest negative, or that gap in angles (``"angle_gap"``); ``"known"``
        is the true easiness, passed to the head with the batch: an oracle, which bounds what any
        score could achieve
    pivot : the easiness that counts as neither easy nor hard, in (-1, 1); None chooses 0.5 for
        similarity (60 degrees, our choice, since the page gives no value) and 0 for the others; 0
        has no effect
    shape : ``"step"`` uses the sign of e_i only, ``"linear"`` its value
    favour : which samples get the larger margin: ``"easy"`` (DATN's page) or ``"hard"`` (DATN's
        code)
    schedule : how alpha grows with training progress: ``"constant"`` (no effect), ``"linear"`` or
        ``"cosine"``
    class_weight : weight of the identity's running easiness in e_i, in [0, 1]; 0 has no effect
    num_identities : required if `class_weight` > 0
    match_mean : shift all margins of a batch so that their mean is `margin_rad`, before
        `easy_margin` sets any to 0; False has no effect
    never_above : keep the target at or below the plain cosine (the guard of DATN's code); False has
        no effect
    detach_margin : treat m_i as a constant in the gradient; False also differentiates through e_i
        (DATN's code), which matters only if e_i is continuous, that is, with ``shape="linear"``
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
        # The head computes the hardest negative only for losses that request it.
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
                    "class_weight > 0 keeps a running easiness for each identity: pass "
                    "num_identities"
                )
            self.class_easiness = ClassEasiness(num_identities)
        self.match_mean, self.never_above, self.detach_margin = (
            match_mean,
            never_above,
            detach_margin,
        )

    @classmethod
    def datn_page(cls, **changes: object) -> Self:
        """The loss of DATN's page (text and diagram): m 0.49, x 1.2 if easy, x 0.8 if hard."""
        return cls(**changes)  # type: ignore[arg-type]

    @classmethod
    def datn_code_gap(cls, m2: float = 0.5, alpha: float = 0.1, **changes: object) -> Self:
        """The gap form of DATN's code, m_i = m2 + alpha (1 - (cos_y - max_{j != y} cos_j)).

        Hard samples get the larger margin. In the terms of this class, m_base = m2 + alpha and the
        relative deviation is 2 alpha / m_base.
        """
        # The hardness is 1 - 2 e, see `easiness_from_gap`: m_i = (m2 + alpha) - 2 alpha e.
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
        """The angular form of DATN's code, m_i = m2 + alpha clip(pi/2 - gap, 0, pi/3).

        The gap is theta_neg - theta_y, with theta_neg the angle to the hardest negative. In the
        terms of this class, m_base = m2 + alpha pi/6 and the relative deviation is
        (alpha pi/6) / m_base.
        """
        # The hardness is (1 - e) pi/6, see `easiness_from_angle_gap`: m_i = (m2 + half) - half e.
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

    def _sample_easiness(self, batch: Batch) -> Tensor:
        if self.kind == "known":
            if batch.known_easiness is None:
                raise ValueError(
                    "easiness='known' needs the true easiness of each sample: call "
                    "head(embeddings, labels, known_easiness)"
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
        """e_i including the class term, before `shape` is applied; shape (b,), in [-1, 1]."""
        sample = self._sample_easiness(batch)
        if self.class_easiness is None:
            return sample
        by_class = self.class_easiness(batch.labels).to(sample.dtype)
        return torch.lerp(sample, by_class, self.class_weight)

    def observe(self, batch: Batch) -> None:
        """Update the running easiness of the batch's identities."""
        if self.class_easiness is not None:
            # Without the class term, which would feed the running mean back into itself.
            self.class_easiness.update(batch.labels, self._sample_easiness(batch))

    def margin_rad(self, batch: Batch) -> Tensor:
        """m_i = m_base (1 + alpha e_i), with `shape` and `favour`; shape (b,), radians."""
        e = self.easiness(batch)
        if self.detach_margin:
            e = e.detach()
        if self.shape == "step":
            e = torch.sign(e)  # 0 at the pivot: the base margin
        if self.favour == "hard":
            e = -e
        change = self.current_alpha(batch.progress) * e
        if self.match_mean and len(change):  # an empty batch has no mean
            change = change - change.mean()
        return self.in_force(self.base_margin_rad * (1.0 + change), batch.target_cos)

    def target(self, target_cos: Tensor, batch: Batch) -> Tensor:
        """cos(theta + m_i); shape (b,) to (b,)."""
        margined = add_angle(target_cos, self.margin_rad(batch), self.beyond_pi)
        return torch.minimum(margined, target_cos) if self.never_above else margined

    def describe(self) -> str:
        score = {
            "similarity": "similarity to the target centre",
            "gap": "gap to the hardest negative",
            "angle_gap": "angle gap to the hardest negative",
            "known": "true easiness, known with the batch",
        }[self.kind]
        low, high = (self.base_margin_rad * (1.0 + sign * self.alpha) for sign in (-1.0, 1.0))
        parts = [
            f"cos(θ + m_i), m_i = {self.base_margin_rad:g} (1 "
            f"{'+' if self.favour == 'easy' else '-'} "
            f"{self.alpha:.3g} e_i) rad, from {low:.3g} to {high:.3g}; {self.favour} samples get "
            f"the larger margin",
            f"e_i: {self.shape} in the {score}"
            + (f", neutral at {self.pivot:g}" if self.pivot else ""),
        ]
        if self.schedule != "constant":
            parts.append(f"alpha grows with training progress ({self.schedule})")
        if self.class_weight:
            parts.append(f"{self.class_weight:.0%} of e_i is the identity's running easiness")
        if self.match_mean:
            parts.append("the mean margin of a batch is kept at the base")
        return "; ".join(parts) + self.exception()
