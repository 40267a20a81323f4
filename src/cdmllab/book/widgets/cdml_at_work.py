"""CDML at work: a batch from easy to hard, with the margin and the gradient of each sample."""

import math
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
import traitlets
from numpy.typing import NDArray

from cdmllab.book.widgets.base import Widget
from cdmllab.book.widgets.target_logit import EASINESS, IDENTITIES
from cdmllab.margins import Batch
from cdmllab.margins.cdml import CDML, Favour, Schedule, Shape

Floats = NDArray[np.float64]
ANGLES_DEG = [8.0, 18.0, 27.0, 36.0, 44.0, 52.0, 59.0, 66.0, 73.0, 81.0, 90.0, 101.0]


class AtWork(NamedTuple):
    """The package's values for the batch of n samples in the widget; each of shape (n,)."""

    easiness: Floats
    margin_rad: Floats
    loss: Floats
    # derivative of the loss with respect to the angle, in 1 / rad: positive turns the sample
    # towards its target centre
    pull: Floats
    arcface_pull: Floats  # the same with the base margin for all samples


class CdmlAtWork(Widget):
    """Samples of one identity on the arc from their target to the nearest negative centre.

    All other class centres are at a right angle to the samples. The gradient is that of the target
    logit: it is exact, with the margin (as by default in the package) and the negative's logit
    held constant.

    Parameters
    ----------
    margin_rad : the base margin, radians, in [0, 1]
    alpha : how far the margin deviates from the base, in [0, 1]
    favour, shape, schedule, match_mean : see `cdmllab.margins.cdml.CDML`
    easiness : one of `EASINESS`
    progress : completed share of the training, in [0, 1]
    s : scale, in [1, 64]
    identities : number of class centres
    negative_deg : angle from the target centre to the negative one, degrees, in [60, 180]
    angles_deg : angles of the samples to their target centre, degrees, in [0.5, 179.5] (the cosine
        is flat at the ends)
    sample : number of the selected sample, from 1
    """

    name = "cdml_at_work"
    parts = ("margins",)
    fallback = (
        "Interactive figure: a batch of samples from easy to hard, with the margin that CDML gives "
        "to each sample and its gradient, and controls for alpha, favour, easiness and training "
        "progress. It needs JavaScript."
    )

    margin_rad = traitlets.Float(0.49, min=0.0, max=1.0).tag(sync=True)
    alpha = traitlets.Float(0.2, min=0.0, max=1.0).tag(sync=True)
    favour = traitlets.Enum(get_args(Favour), default_value="easy").tag(sync=True)
    shape = traitlets.Enum(get_args(Shape), default_value="step").tag(sync=True)
    easiness = traitlets.Enum(EASINESS, default_value="similarity").tag(sync=True)
    schedule = traitlets.Enum(get_args(Schedule), default_value="constant").tag(sync=True)
    progress = traitlets.Float(1.0, min=0.0, max=1.0).tag(sync=True)
    match_mean = traitlets.Bool(False).tag(sync=True)
    s = traitlets.Float(64.0, min=1.0, max=64.0).tag(sync=True)
    identities = traitlets.Enum(IDENTITIES, default_value=10_000).tag(sync=True)
    negative_deg = traitlets.Float(110.0, min=60.0, max=180.0).tag(sync=True)
    angles_deg = traitlets.List(
        traitlets.Float(min=0.5, max=179.5), ANGLES_DEG, minlen=1, maxlen=40
    ).tag(sync=True)
    sample = traitlets.Int(4, min=1).tag(sync=True)

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        if self.sample > len(self.angles_deg):
            raise traitlets.TraitError(
                f"sample is {self.sample}, but there are only {len(self.angles_deg)} samples"
            )

    def policy(self, alpha: float | None = None) -> CDML:
        """The package's loss with the widget's values, or with another alpha."""
        return CDML(
            margin_rad=self.margin_rad,
            alpha=self.alpha if alpha is None else alpha,
            easiness=self.easiness,
            shape=self.shape,
            favour=self.favour,
            schedule=self.schedule,
            match_mean=self.match_mean,
        )

    def batch(self) -> AtWork:
        """The package's values for the samples."""
        loss = self.policy()
        theta = torch.deg2rad(torch.tensor(self.angles_deg, dtype=torch.float64))
        batch = self._batch(theta)
        easiness = loss.easiness(batch)
        assert easiness is not None
        sample_loss, pull = self._pull(loss, theta)
        _, arcface = self._pull(self.policy(alpha=0.0), theta)
        parts = (easiness, loss.margin_rad(batch), sample_loss, pull, arcface)
        return AtWork(*(part.detach().numpy() for part in parts))

    def _batch(self, theta: torch.Tensor) -> Batch:
        nearest = self._negative(theta).detach()
        if self.identities > 2:  # all further centres have a cosine of 0
            nearest = nearest.clamp_min(0.0)  # the nearest of all negatives
        labels, length = torch.zeros(len(theta), dtype=torch.int64), torch.ones_like(theta)
        return Batch(
            labels, torch.cos(theta), length, progress=self.progress, hardest_negative=nearest
        )

    def _negative(self, theta: torch.Tensor) -> torch.Tensor:
        """Cosine to the negative centre."""
        return torch.cos(theta - math.radians(self.negative_deg))

    def _pull(self, loss: CDML, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        theta = theta.clone().requires_grad_()
        batch = self._batch(theta)
        target = loss.margined(batch.target_cos, batch)
        # All other centres have a cosine of 0: n - 2 of them
        # weigh as much as one with the logit log(n - 2).
        others = torch.full_like(
            theta, math.log(self.identities - 2) if self.identities > 2 else -math.inf
        )
        logits = torch.stack(
            [self.s * target, self.s * self._negative(theta).detach(), others], dim=1
        )
        sample_loss = torch.nn.functional.cross_entropy(logits, batch.labels, reduction="none")
        (slope,) = torch.autograd.grad(sample_loss.sum(), theta)
        return sample_loss, slope
