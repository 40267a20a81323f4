"""One small widget of each kind, with data where it needs some."""

from functools import cache

import numpy as np

from cdmllab.book import widgets
from cdmllab.book.widgets import FaceLab, Hypersphere, Threshold, Widget


@cache
def example(name: str) -> Widget:
    """A widget as a notebook would show it."""
    made = {"hypersphere": hypersphere, "threshold": threshold, "face_lab": face_lab}
    return made[name]() if name in made else widgets.WIDGETS[name]()


def hypersphere() -> Hypersphere:
    """Thirty points of three identities that cluster over three epochs."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 10)
    centres = np.stack([np.eye(3)] * 3)
    spread = np.array([2.0, 0.6, 0.2])[:, None, None]
    points = centres[:, labels] + spread * rng.standard_normal((3, 30, 3))
    points /= np.linalg.norm(points, axis=2, keepdims=True)
    margin = np.where((points * centres[:, labels]).sum(axis=2) > 0.5, 0.588, 0.392)
    return Hypersphere.from_embeddings(
        points, labels, centres, margin, epochs=[0, 2, 9], names=["a", "b", "c"]
    )


def threshold() -> Threshold:
    """Eighty genuine and two hundred impostor pairs, with ties."""
    rng = np.random.default_rng(0)
    scores = (
        np.concatenate([rng.normal(0.6, 0.2, 80), rng.normal(0.0, 0.25, 200)]).clip(-1, 1).round(2)
    )
    scores += 0.0037  # off the edges of the bins
    return Threshold.from_scores(scores, np.arange(280) < 80)


def face_lab() -> FaceLab:
    """Frames that can be identified by their pixels."""
    return FaceLab.rendered(
        lambda images: images.reshape(len(images), -1) - 128.0, shown_size=32, strangers=20
    )
