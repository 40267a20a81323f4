"""The truth about difficulty: how far each nuisance moves the score of a trained network, and who
is mislabelled.

Difficulty is measured, not decreed. A network looks at people as they are and again with one factor
turned up; the mean loss of cosine, over strengths, is that factor's response. The difficulty of an
image is what its own nuisances cost by these responses, added up.
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
"""From images, uint8 (n, size, size, 3), to embeddings (n, d) of any length."""

STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_FROM = RESERVED + 400_000  # people that no world and no protocol shows


class Responses(NamedTuple):
    """Mean loss of cosine at each of `STRENGTHS`, by factor, the first is 0; and over how many
    people the mean is.
    """

    lost: dict[str, Floats]
    people: int

    @classmethod
    def parse(cls, values: Mapping[str, Any], people: int) -> Self:
        """From plain values: a list of numbers a factor."""
        return cls({name: np.asarray(values[name], dtype=np.float64) for name in FACTORS}, people)

    def parts(self, nuisances: Nuisances) -> Floats:
        """What each nuisance of each image costs, in cosine; shape (b, len(FACTORS)), in the
        order of `FACTORS`.
        """
        strengths = nuisances.strengths().double().cpu().numpy()
        costs = [
            np.interp(strengths[:, i], STRENGTHS, self.lost[name]) for i, name in enumerate(FACTORS)
        ]
        found: Floats = np.stack(costs, axis=1)
        return found

    def difficulty(self, nuisances: Nuisances) -> Floats:
        """What the nuisances of each image cost together, in cosine; shape (b,), 0 for a perfect
        image.
        """
        total = np.zeros(len(nuisances.keys))
        for cost in self.parts(nuisances).T:
            total += cost
        return total


def measure(embed: Embed, *, size: int, people: int = 200, seed: int = 0) -> Responses:
    """The response of a network to every factor alone.

    Parameters
    ----------
    embed : the network
    size : of the images it takes
    people : how many to average over; nobody of a world or a protocol is among them
    seed : the world's

    The direction of the light counts at half contrast: without contrast it does not show.
    """
    who = torch.arange(people) + _FROM
    latents, index = identity.latents(seed, who), torch.zeros_like(who)

    def look(**factors: float) -> Floats:
        n = nuisance.nuisances(seed, who, index, strength=0.0, **factors)
        pixels = render_latents(latents, n, size).permute(0, 2, 3, 1).numpy()
        e = np.asarray(embed(pixels), dtype=np.float64)
        unit: Floats = e / np.linalg.norm(e, axis=1, keepdims=True)
        return unit

    lost = {}
    for name, factor in FACTORS.items():
        beside = {"contrast": 0.5} if name == "light_azimuth" else {}
        plain = look(**beside)
        turned = [look(**beside, **{name: s * factor.high}) for s in STRENGTHS[1:]]
        lost[name] = np.array([0.0] + [1.0 - float((plain * e).sum(axis=1).mean()) for e in turned])
    return Responses(lost, people)


@functools.cache
def known() -> Responses:
    """The responses that come with the package, measured with its small network on the lab's faces
    at 32 px.
    """
    record = json.loads((files("cdmllab.faces") / "responses.json").read_text(encoding="utf-8"))
    return Responses.parse(record["lost"], record["people"])


def of(
    world: FaceWorld, rows: ArrayLike | None = None, responses: Responses | None = None
) -> Floats:
    """The difficulty of a world's images, in cosine; shape (rows,)."""
    chosen = np.arange(len(world)) if rows is None else rows
    return (responses or known()).difficulty(world.nuisances(chosen))


def variance_shares(
    world: FaceWorld, rows: ArrayLike, responses: Responses | None = None
) -> dict[str, float]:
    """Which nuisances the difficulty of a world's images varies with.

    Parameters
    ----------
    world : whose images
    rows : which of them, two or more
    responses : of a network; default `known`

    Returns
    -------
    By factor, the largest first, its covariance with the difficulty over the variance of the
    difficulty; they add up to 1.

    Raises
    ------
    ValueError : all these images are equally hard
    """
    parts = (responses or known()).parts(world.nuisances(np.asarray(rows)))
    parts = parts - parts.mean(axis=0)
    total = parts.sum(axis=1)
    variance = float((total**2).mean())
    if variance == 0.0:
        raise ValueError("these images are all equally hard: there is no variance to share out")
    shares = {
        name: float((parts[:, i] * total).mean()) / variance for i, name in enumerate(FACTORS)
    }
    return dict(sorted(shares.items(), key=lambda share: -share[1]))


def easiness(difficulty: ArrayLike, mislabelled: ArrayLike | None = None) -> Tensor:
    """Difficulty as the signed easiness of an oracle margin: even over [-1, 1] by rank, the easiest
    at 1.

    Parameters
    ----------
    difficulty : shape (n,)
    mislabelled : shape (n,), images that count as hardest of all whatever they show; None for
        none
    """
    d = np.asarray(difficulty, dtype=np.float64)
    if mislabelled is not None:
        d = np.where(np.asarray(mislabelled, dtype=bool), np.inf, d)
    rank = np.empty(len(d))
    rank[np.argsort(d, kind="stable")] = np.arange(len(d))
    if mislabelled is not None:
        rank[np.isinf(d)] = len(d) - 1
    return torch.from_numpy(1.0 - 2.0 * rank / max(len(d) - 1, 1)).float()


def rank_correlation(score: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's correlation of a loss's difficulty score with the true difficulty, both of shape
    (n,).

    0 where one of the two is the same for all, and orders nothing.

    Raises
    ------
    ValueError : shapes that differ, fewer than three images, or a score that is not finite
    """
    with optional("analysis", "a rank correlation"):
        from scipy.stats import spearmanr  # takes seconds, and rendering does without it

    s, t = _paired(score, truth)
    if s.min() == s.max() or t.min() == t.max():
        return 0.0
    return float(spearmanr(s, t).statistic)


def mislabel_auc(score: ArrayLike, mislabelled: ArrayLike) -> float:
    """How well a difficulty score finds wrong labels: the chance that a wrong one scores higher
    than a right one.

    Raises
    ------
    ValueError : as `rank_correlation`, or no wrong labels, or only wrong ones
    """
    with optional("analysis", "an AUC over labels"):
        from sklearn.metrics import roc_auc_score

    s, wrong = _paired(score, mislabelled)
    if wrong.min() == wrong.max():
        raise ValueError("an AUC needs right and wrong labels, and there is one kind only")
    return float(roc_auc_score(wrong.astype(bool), s))


def _paired(score: ArrayLike, truth: ArrayLike) -> tuple[Floats, Floats]:
    s, t = np.asarray(score, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if s.ndim != 1 or s.shape != t.shape or len(s) < 3:
        raise ValueError(
            f"score and truth must both have shape (n,) with n of 3 or more, got {s.shape} and "
            f"{t.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(s))
    if len(bad):
        raise ValueError(
            f"the score of image {bad[0]} is {s[bad[0]]} ({len(bad)} such of {len(s)})"
        )
    return s, t
