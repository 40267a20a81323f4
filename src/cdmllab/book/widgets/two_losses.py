"""Two losses, one sample: the target logits and gradients of two losses over the same angles."""

from typing import Any

import traitlets
from numpy.typing import ArrayLike

from cdmllab.book.widgets.base import Widget
from cdmllab.book.widgets.target_logit import (
    IDENTITIES,
    OPTIONS,
    SAMPLED,
    Curves,
    TargetLogit,
    sampled,
)

USUAL_LENGTH = (
    50.0  # AdaFace's running mean; a length of 0 or of twice this is at the ends of its z
)


class TwoLosses(Widget):
    """Two losses with their default options, for one sample that the reader moves.

    CurricularFace is in the middle of a training, at t = 0.5, and KappaFace's identity has the
    weight 0.5; ElasticFace draws its mean.

    Parameters
    ----------
    first, second : two of `cdmllab.book.widgets.target_logit.OPTIONS`
    theta_deg : angle of the sample to its target centre, degrees, in [0, 180]
    negative_deg : its angle to all negative centres, degrees, in [0, 180]
    length : length of its embedding, in [1, 120]; usual is `USUAL_LENGTH`
    s : scale, in [1, 64]; AdaCos uses its own
    identities : number of class centres, one of `IDENTITIES`
    """

    name = "two_losses"
    parts = ("margins", "losses")
    fallback = (
        "Interactive figure: target logits and gradients of two losses against the angle to the "
        "target centre, with sliders for the angle, the nearest negative and the length of the "
        "embedding. It needs JavaScript."
    )

    first = traitlets.Enum(tuple(OPTIONS), default_value="adaface").tag(sync=True)
    second = traitlets.Enum(tuple(OPTIONS), default_value="magface").tag(sync=True)
    theta_deg = traitlets.Float(40.0, min=0.0, max=180.0).tag(sync=True)
    negative_deg = traitlets.Float(75.0, min=0.0, max=180.0).tag(sync=True)
    length = traitlets.Float(USUAL_LENGTH, min=1.0, max=120.0).tag(sync=True)
    s = traitlets.Float(64.0, min=1.0, max=64.0).tag(sync=True)
    identities = traitlets.Enum(IDENTITIES, default_value=1_000).tag(sync=True)
    sampled = traitlets.List(traitlets.Dict()).tag(sync=True)

    @traitlets.default("sampled")
    def _sampled(self) -> list[dict[str, str]]:
        return [sampled(name) for name in SAMPLED]

    def explorer(self, loss: str) -> TargetLogit:
        """The target-logit explorer of one loss for the same sample."""
        quality = (self.length - USUAL_LENGTH) / USUAL_LENGTH
        values: dict[str, Any] = {
            "theta_deg": self.theta_deg,
            "negative_deg": self.negative_deg,
            "length": self.length,
            "quality": min(1.0, max(-1.0, quality)),
            "s": self.s,
            "identities": self.identities,
        }
        if loss == "curricularface":
            values["boost"] = 0.5
        return TargetLogit(loss=loss, **values)

    def curves(self, angles_deg: ArrayLike) -> tuple[Curves, Curves]:
        """The package's values of both losses at some angles, degrees, shape (n,)."""
        first, second = (
            self.explorer(loss).curves(angles_deg) for loss in (self.first, self.second)
        )
        return first, second
