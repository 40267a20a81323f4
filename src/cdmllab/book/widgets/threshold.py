"""A movable threshold between genuine and impostor scores."""

import math
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from cdmllab.book.widgets.base import Widget, packed, unpacked
from cdmllab.metrics import ranked, verification
from cdmllab.metrics.ranked import Ranked


class Rates(NamedTuple):
    """The error rates at a threshold."""

    far: float  # share of impostor pairs accepted
    frr: float  # share of genuine pairs rejected
    tar: float  # 1 - frr
    accuracy: float


class Threshold(Widget):
    """Histograms of genuine and impostor scores with a movable threshold, and its ROC point.

    Created by `Threshold.of`.

    Parameters
    ----------
    genuine, impostor : packed scores, ascending
    threshold : a pair is accepted if its score is at least this
    low, high : limits of the axis of scores
    axis : scale of the FAR axis, ``"linear"`` or ``"log"``
    """

    name = "threshold"
    fallback = (
        "Interactive figure: histograms of genuine and impostor scores with a movable threshold, "
        "its error rates, and its point on the ROC curve. It needs JavaScript."
    )
    needs: ClassVar[tuple[str, ...]] = ("genuine", "impostor")

    genuine = traitlets.Unicode().tag(sync=True)
    impostor = traitlets.Unicode().tag(sync=True)
    threshold = traitlets.Float(0.0).tag(sync=True)
    low = traitlets.Float(-1.0).tag(sync=True)
    high = traitlets.Float(1.0).tag(sync=True)
    axis = traitlets.Enum(("linear", "log"), default_value="linear").tag(sync=True)

    @classmethod
    def from_scores(cls, scores: ArrayLike, same: ArrayLike, **values: Any) -> Self:
        """Create the widget from p pairs.

        Parameters
        ----------
        scores : shape (p,), higher means more similar
        same : shape (p,), True for genuine pairs
        values : further values of the widget; the default threshold is that of the best accuracy

        Raises
        ------
        ValueError : no pairs, NaN scores, only genuine or only impostor pairs, or different shapes
        """
        s = np.asarray(scores, dtype=np.float32)  # the precision in which the page counts
        by_kind = ranked.rank(s, same)
        # Round the axis to tenths of the order of magnitude of the scores' range.
        grid = 10.0 ** math.floor(math.log10(float(np.ptp(s)) or 1.0)) / 10.0
        computed = {
            "genuine": packed(by_kind.genuine),
            "impostor": packed(by_kind.impostor),
            "threshold": round(verification.best_threshold(s, same), 3),
            "low": math.floor(float(s.min()) / grid - 0.2) * grid,
            "high": math.ceil(float(s.max()) / grid + 0.2) * grid,
        }
        return cls(**{**computed, **values})

    def ranked(self) -> Ranked:
        """The scores of both kinds of pairs, ascending."""
        return Ranked(
            *(unpacked(text).astype(np.float64) for text in (self.genuine, self.impostor))
        )

    def rates(self, threshold: float | None = None) -> Rates:
        """The error rates at a threshold; None means the widget's."""
        t, scores = self.threshold if threshold is None else threshold, self.ranked()
        far, tar = float(scores.far(t)), float(scores.tar(t))
        g, i = len(scores.genuine), len(scores.impostor)
        return Rates(far, 1.0 - tar, tar, (g * tar + i * (1.0 - far)) / (g + i))
