"""The true difficulty of an image: how far its nuisances move the score of a trained network.

Difficulty is measured, not defined. A network embeds people without nuisances and again with one
factor at several strengths; the mean drop in cosine similarity at each strength is the factor's
response. The difficulty of an image is the sum of the responses to its nuisances.
"""

import functools
import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdmllab.errors import optional
from cdmllab.faces import identity, nuisance
from cdmllab.faces.nuisance import FACTORS, Nuisances
from cdmllab.faces.render import render_latents
from cdmllab.faces.world import RESERVED, FaceWorld

Floats = NDArray[np.float64]
Embed = Callable[[NDArray[np.uint8]], ArrayLike]
"""Maps images, uint8 (n, size, size, 3), to embeddings (n, d) of any norm."""

STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_FROM = RESERVED + 400_000  # the first of the people that no world and no protocol contains


class Responses(NamedTuple):
    """The response of a network to every nuisance factor.

    Attributes
    ----------
    lost : mean drop in cosine similarity at each of `STRENGTHS`, by factor; 0 at strength 0
    people : the number of people averaged over
    """

    lost: dict[str, Floats]
    people: int

    @classmethod
    def parse(cls, values: Mapping[str, Any], people: int) -> Self:
        """Build responses from plain values, such as parsed JSON: a list of numbers per factor."""
        return cls({name: np.asarray(values[name], dtype=np.float64) for name in FACTORS}, people)

    def parts(self, nuisances: Nuisances) -> Floats:
        """Drop in cosine similarity caused by each nuisance of each image.

        Shape (b, len(FACTORS)), in the order of `FACTORS`.
        """
        strengths = nuisances.strengths().double().cpu().numpy()
        # Linear between the measured strengths.
        drops = [
            np.interp(strengths[:, i], STRENGTHS, self.lost[name]) for i, name in enumerate(FACTORS)
        ]
        parts: Floats = np.stack(drops, axis=1)
        return parts

    def difficulty(self, nuisances: Nuisances) -> Floats:
        """Difficulty of each image, the sum of `parts`: shape (b,), 0 without any nuisance."""
        # Added factor by factor: numpy's sum may add in another order, which changes the last bits.
        total = np.zeros(len(nuisances.keys))
        for part in self.parts(nuisances).T:
            total += part
        return total


def measure(embed: Embed, *, size: int, people: int = 200, seed: int = 0) -> Responses:
    """Measure the response of a network to every factor alone.

    The direction of the light is varied at a contrast of 0.5, because it has hardly any effect
    without contrast.

    Parameters
    ----------
    embed : the network
    size : width and height of the images it takes, in pixels
    people : how many to average over; no world and no protocol contains any of them
    seed : the world's seed
    """
    who = torch.arange(people) + _FROM
    latents, index = identity.latents(seed, who), torch.zeros_like(who)

    # The same people and the same index, so that only the given factors differ.
    def embeddings(**factors: float) -> Floats:
        n = nuisance.nuisances(seed, who, index, strength=0.0, **factors)
        pixels = render_latents(latents, n, size).permute(0, 2, 3, 1).numpy()
        e = np.asarray(embed(pixels), dtype=np.float64)
        unit: Floats = e / np.linalg.norm(e, axis=1, keepdims=True)
        return unit

    lost = {}
    for name, factor in FACTORS.items():
        # Without contrast the lamp's direction hardly shows.
        fixed = {"contrast": 0.5} if name == "light_azimuth" else {}
        neutral = embeddings(**fixed)
        varied = [embeddings(**fixed, **{name: s * factor.high}) for s in STRENGTHS[1:]]
        lost[name] = np.array(
            [0.0] + [1.0 - float((neutral * e).sum(axis=1).mean()) for e in varied]
        )
    return Responses(lost, people)


@functools.cache
def known() -> Responses:
    """The responses included in the package: of its small network, on rendered faces at 32 px."""
    record = json.loads((files("cdmllab.faces") / "responses.json").read_text(encoding="utf-8"))
    return Responses.parse(record["lost"], record["people"])


def of(
    world: FaceWorld, rows: ArrayLike | None = None, responses: Responses | None = None
) -> Floats:
    """The difficulty of a world's images, as a drop in cosine similarity: shape (rows,).

    Parameters
    ----------
    rows : the images; default: all of them
    responses : of a network; default: `known`
    """
    chosen = np.arange(len(world)) if rows is None else rows
    return (responses or known()).difficulty(world.nuisances(chosen))


def variance_shares(
    world: FaceWorld, rows: ArrayLike, responses: Responses | None = None
) -> dict[str, float]:
    """How much of the variance in difficulty each nuisance factor explains.

    Parameters
    ----------
    world : the world
    rows : its images to use, two or more
    responses : of a network; default: `known`

    Returns
    -------
    For each factor, largest first, the covariance of its part of the difficulty with the
    difficulty, divided by the variance of the difficulty. The shares add up to 1.

    Raises
    ------
    ValueError : all these images are equally hard
    """
    parts = (responses or known()).parts(world.nuisances(np.asarray(rows)))
    # Covariances with the sum of the parts: they add up to the variance of the sum.
    parts = parts - parts.mean(axis=0)
    total = parts.sum(axis=1)
    variance = float((total**2).mean())
    if variance == 0.0:
        raise ValueError("these images are all equally hard: their difficulty has no variance")
    shares = {
        name: float((parts[:, i] * total).mean()) / variance for i, name in enumerate(FACTORS)
    }
    return dict(sorted(shares.items(), key=lambda share: -share[1]))


def easiness(difficulty: ArrayLike, mislabelled: ArrayLike | None = None) -> Tensor:
    """Convert difficulty to the signed easiness that an oracle margin uses.

    Parameters
    ----------
    difficulty : shape (n,)
    mislabelled : shape (n,); images marked here count as the hardest of all, whatever they show

    Returns
    -------
    Shape (n,): spaced evenly over [-1, 1] by rank, 1 for the easiest image, -1 for the hardest
    """
    d = np.asarray(difficulty, dtype=np.float64)
    if mislabelled is not None:
        d = np.where(np.asarray(mislabelled, dtype=bool), np.inf, d)  # harder than any image
    rank = np.empty(len(d))
    rank[np.argsort(d, kind="stable")] = np.arange(len(d))
    # All wrong labels share the last rank, since none of them is harder than another.
    if mislabelled is not None:
        rank[np.isinf(d)] = len(d) - 1
    return torch.from_numpy(1.0 - 2.0 * rank / max(len(d) - 1, 1)).float()


def rank_correlation(score: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's correlation of a loss's difficulty score with the true difficulty.

    Both have shape (n,). The result is 0 if one of them is constant, because it orders nothing.

    Raises
    ------
    ValueError : the shapes differ, there are fewer than three images, or a score is not finite
    """
    with optional("analysis", "a rank correlation"):
        from scipy.stats import spearmanr  # slow to import, and not needed for rendering

    s, t = _paired(score, truth)
    if s.min() == s.max() or t.min() == t.max():
        return 0.0
    return float(spearmanr(s, t).statistic)


def mislabel_auc(score: ArrayLike, mislabelled: ArrayLike) -> float:
    """Area under the ROC curve of a difficulty score as a detector of wrong labels.

    It is the probability that a mislabelled image has a higher score than a correctly labelled one.

    Raises
    ------
    ValueError : as for `rank_correlation`, or the labels are all correct or all wrong
    """
    with optional("analysis", "an AUC over labels"):
        from sklearn.metrics import roc_auc_score

    s, wrong = _paired(score, mislabelled)
    if wrong.min() == wrong.max():
        raise ValueError("an AUC needs both correct and wrong labels, got only one kind")
    return float(roc_auc_score(wrong.astype(bool), s))


def _paired(score: ArrayLike, truth: ArrayLike) -> tuple[Floats, Floats]:
    s, t = np.asarray(score, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if s.ndim != 1 or s.shape != t.shape or len(s) < 3:
        raise ValueError(
            f"score and truth must both have shape (n,) with n at least 3, got {s.shape} and "
            f"{t.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(s))
    if len(bad):
        raise ValueError(
            f"the score of image {bad[0]} is {s[bad[0]]} ({len(bad)} of {len(s)} are not finite)"
        )
    return s, t
