"""The sphere on which a network puts its images, epoch by epoch."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from cdmllab.book.widgets.base import Widget, packed, unpacked


class Look(NamedTuple):
    """What the widget says of one epoch."""

    own_deg: float  # mean angle of the points to their own class centre, degrees
    apart_deg: float  # mean angle of the class centres to the nearest other one, degrees
    margin_rad: float  # mean margin, radians
    right: float  # share of the points whose nearest class centre is their own


class Hypersphere(Widget):
    """Unit embeddings in three dimensions on a globe to turn, after some epochs of a training.

    Made by `Hypersphere.of`.

    Parameters
    ----------
    points, centres, margin_rad : packed numbers, (k, n, 3), (k, c, 3) and (k, n)
    labels : identity of each point, counted from 0
    names : of the identities
    epochs : how many were done, k of them
    frame : which of the epochs is shown, from 0
    azimuth_deg, elevation_deg : where the reader looks from, degrees
    colour : ``"identity"`` or ``"margin"``
    """

    name = "hypersphere"
    fallback = (
        "Interactive figure: embeddings of a trained network as points on a sphere to turn, "
        "coloured by identity or by "
        "margin, epoch by epoch. It needs JavaScript."
    )
    needs: ClassVar[tuple[str, ...]] = (
        "points",
        "centres",
        "margin_rad",
        "labels",
        "names",
        "epochs",
    )

    points = traitlets.Unicode().tag(sync=True)
    centres = traitlets.Unicode().tag(sync=True)
    margin_rad = traitlets.Unicode().tag(sync=True)
    labels = traitlets.List(traitlets.Int(min=0)).tag(sync=True)
    names = traitlets.List(traitlets.Unicode(), maxlen=10).tag(sync=True)
    epochs = traitlets.List(traitlets.Int(min=0), minlen=1).tag(sync=True)
    frame = traitlets.Int(0, min=0).tag(sync=True)
    azimuth_deg = traitlets.Float(30.0, min=-180.0, max=180.0).tag(sync=True)
    elevation_deg = traitlets.Float(20.0, min=-90.0, max=90.0).tag(sync=True)
    colour = traitlets.Enum(("identity", "margin"), default_value="identity").tag(sync=True)

    @classmethod
    def of(
        cls,
        points: ArrayLike,
        labels: ArrayLike,
        centres: ArrayLike,
        margin_rad: ArrayLike,
        *,
        epochs: Sequence[int],
        names: Sequence[str],
        **values: Any,
    ) -> Self:
        """The widget of a training; `cdmllab.training.Snapshots` has what it takes.

        Parameters
        ----------
        points : unit embeddings, shape (k, n, 3)
        labels : shape (n,), counted from 0
        centres : class centres, unit vectors of shape (k, c, 3)
        margin_rad : margin of each point, radians, shape (k, n)
        epochs : how many were done, k of them
        names : of the c identities
        values : further values of the widget; the last epoch is shown first

        Raises
        ------
        ValueError : shapes that do not fit
        """
        p, w, m = (np.asarray(part, dtype=np.float32) for part in (points, centres, margin_rad))
        who = np.asarray(labels)
        k, n, c = len(epochs), len(who), len(names)
        wanted = {"points": (p, (k, n, 3)), "centres": (w, (k, c, 3)), "margin_rad": (m, (k, n))}
        for name, (part, shape) in wanted.items():
            if part.shape != shape:
                raise ValueError(
                    f"{name} must have shape {shape} for {k} epochs, {n} labels, {c} names; got "
                    f"{part.shape}"
                )
        if n and not 0 <= who.min() <= who.max() < c:
            raise ValueError(f"labels must lie in 0 .. {c - 1}, got {who.min()} .. {who.max()}")
        own = {
            "points": packed(p),
            "centres": packed(w),
            "margin_rad": packed(m),
            "labels": who.tolist(),
            "names": list(names),
            "epochs": list(epochs),
            "frame": k - 1,
        }
        return cls(**{**own, **values})

    def look(self, frame: int | None = None) -> Look:
        """The numbers of one epoch; None takes the one shown."""
        at = self.frame if frame is None else frame
        k, n, c = len(self.epochs), len(self.labels), len(self.names)
        p = unpacked(self.points, k, n, 3)[at].astype(np.float64)
        w = unpacked(self.centres, k, c, 3)[at].astype(np.float64)
        cosines, between = p @ w.T, w @ w.T - 3.0 * np.eye(c)
        own = cosines[np.arange(n), self.labels]
        return Look(
            float(np.degrees(np.arccos(own.clip(-1.0, 1.0))).mean()),
            float(np.degrees(np.arccos(between.max(axis=1).clip(-1.0, 1.0))).mean()),
            float(unpacked(self.margin_rad, k, n)[at].mean(dtype=np.float64)),
            float((cosines.argmax(axis=1) == np.asarray(self.labels)).mean()),
        )
