"""The sphere of a network's embeddings in three dimensions, epoch by epoch."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import traitlets
from numpy.typing import ArrayLike

from cdmllab.book.widgets.base import Widget, packed, unpacked


class Look(NamedTuple):
    """The numbers that the widget displays for one epoch."""

    own_deg: float  # mean angle of the points to their target centre, degrees
    apart_deg: float  # mean angle of each class centre to its nearest neighbour, degrees
    margin_rad: float  # mean margin, radians
    right: float  # share of the points whose nearest class centre is their target centre


class Hypersphere(Widget):
    """Unit embeddings in three dimensions on a rotatable globe, epoch by epoch.

    Created by `Hypersphere.of`.

    Parameters
    ----------
    points, centres, margin_rad : packed arrays of shape (k, n, 3), (k, c, 3) and (k, n)
    labels : identity of each point, counted from 0
    names : names of the identities
    epochs : the number of completed epochs at each of the k frames
    frame : the selected frame, from 0
    azimuth_deg, elevation_deg : direction of view, degrees
    colour : ``"identity"`` or ``"margin"``
    """

    name = "hypersphere"
    fallback = (
        "Interactive figure: embeddings of a trained network as points on a rotatable sphere, "
        "coloured by identity or by margin, epoch by epoch. It needs JavaScript."
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
    def from_embeddings(
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
        """Create the widget from a training, as recorded by `cdmllab.training.Snapshots`.

        Parameters
        ----------
        points : unit embeddings, shape (k, n, 3)
        labels : shape (n,), counted from 0
        centres : class centres, unit vectors of shape (k, c, 3)
        margin_rad : margin of each point, radians, shape (k, n)
        epochs : the number of completed epochs at each of the k frames
        names : names of the c identities
        values : further values of the widget; the last frame is selected by default

        Raises
        ------
        ValueError : the shapes do not fit together, or a label is out of range
        """
        p, w, m = (np.asarray(part, dtype=np.float32) for part in (points, centres, margin_rad))
        identities = np.asarray(labels)
        k, n, c = len(epochs), len(identities), len(names)
        shapes = {"points": (p, (k, n, 3)), "centres": (w, (k, c, 3)), "margin_rad": (m, (k, n))}
        for name, (part, shape) in shapes.items():
            if part.shape != shape:
                raise ValueError(
                    f"{name} must have shape {shape} for {k} epochs, {n} labels, {c} names; got "
                    f"{part.shape}"
                )
        if n and not 0 <= identities.min() <= identities.max() < c:
            raise ValueError(
                f"labels must lie in 0 .. {c - 1}, got {identities.min()} .. {identities.max()}"
            )
        arrays = {
            "points": packed(p),
            "centres": packed(w),
            "margin_rad": packed(m),
            "labels": identities.tolist(),
            "names": list(names),
            "epochs": list(epochs),
            "frame": k - 1,  # the last one
        }
        return cls(**{**arrays, **values})

    def look(self, frame: int | None = None) -> Look:
        """The numbers of one frame; None means the selected one."""
        at = self.frame if frame is None else frame
        k, n, c = len(self.epochs), len(self.labels), len(self.names)
        p = unpacked(self.points, k, n, 3)[at].astype(np.float64)
        w = unpacked(self.centres, k, c, 3)[at].astype(np.float64)
        # Subtracting 3 keeps each centre from being its own nearest neighbour.
        cosines, between = p @ w.T, w @ w.T - 3.0 * np.eye(c)
        target = cosines[np.arange(n), self.labels]  # [n]
        return Look(
            float(np.degrees(np.arccos(target.clip(-1.0, 1.0))).mean()),
            float(np.degrees(np.arccos(between.max(axis=1).clip(-1.0, 1.0))).mean()),
            float(unpacked(self.margin_rad, k, n)[at].mean(dtype=np.float64)),
            float((cosines.argmax(axis=1) == np.asarray(self.labels)).mean()),
        )
