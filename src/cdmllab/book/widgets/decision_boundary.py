"""Two class centres on a circle, and the arcs on which each loss is satisfied with a sample."""

from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import torch
import traitlets
from numpy.typing import ArrayLike, NDArray

from cdmllab import margins
from cdmllab.book.widgets.base import Widget
from cdmllab.margins import Batch, MarginPolicy
from cdmllab.margins.cdml import Favour, Shape

Floats = NDArray[np.float64]

LOSSES = ("softmax", "normface", "sphereface", "cosface", "arcface", "cdml")
STEPS = 720  # grid points of the search for a boundary, before it is refined by bisection


class DecisionBoundary(Widget):
    """A circle with two class centres, the arcs that satisfy each class, and a movable sample.

    A sample of class 1 is satisfied where its target logit, with the margin, exceeds the other
    logit: psi(theta_1) > cos(theta_2). Softmax has no margin, but its centres have lengths.
    Positions are in degrees, clockwise from the midpoint of the centres, which are at minus and
    plus half the separation.

    Parameters
    ----------
    loss : one of `LOSSES`
    m1 : SphereFace's factor, in [1, 4]
    m2 : margin of ArcFace and base margin of CDML, radians, in [0, 1]
    m3 : CosFace's margin, in [0, 1]
    alpha, shape, favour : options of CDML, whose easiness is the similarity to the target centre
    ratio : length of class centre 1 over that of class centre 2, for softmax, in [0.5, 2]
    separation_deg : angle between the class centres, in [20, 180]
    position_deg : position of the sample, in [-180, 180]
    label : the sample's class, ``"1"`` or ``"2"``
    """

    name = "decision_boundary"
    parts = ("margins",)
    fallback = (
        "Interactive figure: two class centres on a circle, and the arcs on which a training "
        "sample of each class is satisfied under softmax, NormFace, SphereFace, CosFace, ArcFace "
        "and CDML. It needs JavaScript."
    )

    loss = traitlets.Enum(LOSSES, default_value="arcface").tag(sync=True)
    m1 = traitlets.Float(1.35, min=1.0, max=4.0).tag(sync=True)
    m2 = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    m3 = traitlets.Float(0.35, min=0.0, max=1.0).tag(sync=True)
    alpha = traitlets.Float(0.2, min=0.0, max=1.0).tag(sync=True)
    shape = traitlets.Enum(get_args(Shape), default_value="step").tag(sync=True)
    favour = traitlets.Enum(get_args(Favour), default_value="easy").tag(sync=True)
    ratio = traitlets.Float(1.0, min=0.5, max=2.0).tag(sync=True)
    separation_deg = traitlets.Float(90.0, min=20.0, max=180.0).tag(sync=True)
    position_deg = traitlets.Float(-25.0, min=-180.0, max=180.0).tag(sync=True)
    label = traitlets.Enum(("1", "2"), default_value="1").tag(sync=True)

    def policy(self) -> MarginPolicy:
        """The package's loss with the widget's values."""
        options: dict[str, dict[str, Any]] = {
            "sphereface": {"factor": self.m1, "anneal_from": 0.0, "anneal_to": 0.0},
            "cosface": {"margin_cos": self.m3},
            "arcface": {"margin_rad": self.m2},
            "cdml": {
                "margin_rad": self.m2,
                "alpha": self.alpha,
                "shape": self.shape,
                "favour": self.favour,
            },
        }
        return margins.create(self.loss, **options.get(self.loss, {}))

    def angles_deg(self, position_deg: ArrayLike) -> Floats:
        """Angles of positions (...) to both centres, degrees in [0, 180]; shape (..., 2)."""
        half = self.separation_deg / 2.0
        # From centre 1 and from centre 2: shape (..., 2).
        offset = np.asarray(position_deg, dtype=np.float64)[..., None] - np.array([-half, half])
        angles: Floats = np.abs((offset + 180.0) % 360.0 - 180.0)  # the shorter way around
        return angles

    def leads(self, position_deg: ArrayLike) -> Floats:
        """The lead of the target for a sample of class 1 and one of class 2; (...) to (..., 2).

        The lead is a difference of cosines; for softmax a difference of logits, divided by the
        lengths of the embedding and of class centre 2. A sample is satisfied where it is positive.
        """
        angles = self.angles_deg(position_deg)
        cosines = torch.cos(torch.deg2rad(torch.from_numpy(angles.reshape(-1, 2))))
        # Softmax compares logits with the lengths of the centres, and has no margin.
        if self.loss == "softmax":
            first = self.ratio * cosines[:, 0] - cosines[:, 1]
            leads = torch.stack([first, -first], dim=1)
        else:
            # Samples of class 1 and class 2 alternate: the other class's cosine is the negative.
            target, negative = cosines.reshape(-1), cosines.flip(1).reshape(-1)
            batch = Batch(
                torch.arange(len(target)),
                target,
                torch.ones_like(target),
                hardest_negative=negative,
            )
            leads = self.policy().target(target, batch) - negative
        result: Floats = leads.numpy().reshape(angles.shape)
        return result

    def boundaries_deg(self) -> tuple[float | None, float | None]:
        """How far from its centre a sample of each class is satisfied, degrees.

        None if it is not satisfied even at the class centre itself.
        """
        half = self.separation_deg / 2.0
        # Walk from each centre towards the other.
        first = _first_fall(lambda off: self.leads(off - half)[..., 0], self.separation_deg)
        second = _first_fall(lambda off: self.leads(half - off)[..., 1], self.separation_deg)
        return first, second

    def strip_deg(self) -> float | None:
        """Width of the arc between the centres that satisfies neither class, degrees.

        None if a class has no boundary.
        """
        first, second = self.boundaries_deg()
        return None if first is None or second is None else self.separation_deg - first - second


def _first_fall(lead: Callable[[Floats], Floats], end: float) -> float | None:
    """The first zero of a function that is positive at 0 and not at `end`; None without one."""
    # A coarse search for the first change of sign, then bisection between the two grid points.
    steps = np.linspace(0.0, end, STEPS + 1)
    after = int(np.argmax(lead(steps) <= 0.0))
    if after == 0:
        return None
    low, high = steps[after - 1], steps[after]
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (middle, high) if lead(middle) > 0.0 else (low, middle)
    return float(low)
