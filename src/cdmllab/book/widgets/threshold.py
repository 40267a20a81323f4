"""A threshold to move between genuine and impostor scores."""

import math
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from cdmllab.book.widgets.base import Widget, packed, unpacked
from cdmllab.metrics import ranked, verification
from cdmllab.metrics.ranked import Ranked


class Rates(NamedTuple):
    """What a threshold does to the pairs."""

    far: float  # share of impostor pairs accepted
    frr: float  # share of genuine pairs refused
    tar: float  # 1 - frr
    accuracy: float


class Threshold(Widget):
    """Histograms of genuine and impostor scores with a threshold to move; its point on the ROC
    moves along.

    Made by `Threshold.of`.

    Parameters
    ----------
    genuine, impostor : packed scores, rising
    threshold : a pair is accepted when its score is at least this
    low, high : where the axis of scores begins and ends
    axis : of the FAR, ``"linear"`` or ``"log"``
    """

    name = "threshold"
    fallback = (
        "Interactive figure: histograms of genuine and impostor scores with a threshold to move, "
        "its error rates, and "
        "its point on the ROC. It needs JavaScript."
    )
    needs: ClassVar[tuple[str, ...]] = ("genuine", "impostor")

    genuine = traitlets.Unicode().tag(sync=True)
    impostor = traitlets.Unicode().tag(sync=True)
    threshold = traitlets.Float(0.0).tag(sync=True)
    low = traitlets.Float(-1.0).tag(sync=True)
    high = traitlets.Float(1.0).tag(sync=True)
    axis = traitlets.Enum(("linear", "log"), default_value="linear").tag(sync=True)

    @classmethod
    def of(cls, scores: ArrayLike, same: ArrayLike, **values: Any) -> Self:
        """The widget of p pairs.

        Parameters
        ----------
        scores : shape (p,), higher = more alike
        same : shape (p,), True for genuine pairs
        values : further values of the widget; the threshold begins where the accuracy is best

        Raises
        ------
        ValueError : no pairs, NaN scores, only genuine or only impostor pairs, shapes that differ
        """
        s = np.asarray(scores, dtype=np.float32)  # what the page counts
        by_kind = ranked.rank(s, same)
        grid = 10.0 ** math.floor(math.log10(float(np.ptp(s)) or 1.0)) / 10.0
        own = {
            "genuine": packed(by_kind.genuine),
            "impostor": packed(by_kind.impostor),
            "threshold": round(verification.best_threshold(s, same), 3),
            "low": math.floor(float(s.min()) / grid - 0.2) * grid,
            "high": math.ceil(float(s.max()) / grid + 0.2) * grid,
        }
        return cls(**{**own, **values})

    def ranked(self) -> Ranked:
        """The scores of both kinds of pairs, rising."""
        return Ranked(
            *(unpacked(text).astype(np.float64) for text in (self.genuine, self.impostor))
        )

    def rates(self, threshold: float | None = None) -> Rates:
        """What a threshold does; None takes the widget's."""
        t, scores = self.threshold if threshold is None else threshold, self.ranked()
        far, tar = float(scores.far(t)), float(scores.tar(t))
        g, i = len(scores.genuine), len(scores.impostor)
        return Rates(far, 1.0 - tar, tar, (g * tar + i * (1.0 - far)) / (g + i))
