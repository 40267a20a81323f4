"""Quality scores of images, and what they share with the known factors of an image.

Each score is a number per image that is higher for better images. The length of the embedding
serves AdaFace and MagFace; the others compare cosines to class centres, so they exist for training
images only. CDML's easiness is in `cdmllab.easiness`.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdmllab.errors import optional
from cdmllab.geometry import angle, cosine

with optional("analysis", "a rank correlation"):
    from scipy.stats import rankdata

Floats = NDArray[np.float64]


class CentreCosines(NamedTuple):
    """The cosines of n images to the centres that decide about them."""

    own: Tensor  # [n] to the positive centre, the nearest of its K
    negative: Tensor  # [n] to the nearest negative centre


class Estimate(NamedTuple):
    """Statistics with intervals over resampled people."""

    value: Floats  # [k]
    low: Floats  # [k]
    high: Floats  # [k]


def centre_cosines(embeddings: Tensor, centres: Tensor, labels: Tensor) -> CentreCosines:
    """Cosines to the positive and to the nearest negative centre.

    Parameters
    ----------
    embeddings : shape (n, d)
    centres : shape (c, K, d), from ``head.directions()``
    labels : shape (n,)
    """
    count, k, _ = centres.shape
    cosines = cosine(embeddings, centres.flatten(0, 1)).unflatten(1, (count, k)).amax(dim=2)
    own = cosines.gather(1, labels[:, None]).squeeze(1)
    # With -1 in the column of the positive, the largest is that of the nearest negative.
    return CentreCosines(own, cosines.scatter(1, labels[:, None], -1.0).amax(dim=1))


def curricular_easiness(cosines: CentreCosines, margin_rad: float) -> Tensor:
    """How far the margined target exceeds the nearest negative, cos(theta + m) - cos_j; shape (n,).

    CurricularFace (arXiv 2004.00288) calls a sample hard where this is negative, and only then
    changes the weight of its negatives.
    """
    # Past pi the cosine would rise again.
    target = torch.cos((angle(cosines.own) + margin_rad).clamp(max=math.pi))
    return target - cosines.negative


def certainty_ratio(cosines: CentreCosines) -> Tensor:
    """CR-FIQA's certainty ratio, the own cosine by 1 + that of the nearest negative; shape (n,).

    Boutros et al., arXiv 2112.06592_. The 1 keeps the denominator positive; the authors' training
    script_ divides by the cosine to the nearest negative alone.

    .. _2112.06592: https://arxiv.org/abs/2112.06592
    .. _script: https://github.com/fdbtrs/CR-FIQA/blob/main/train_cr_fiqa.py
    """
    return cosines.own / (cosines.negative + (1.0 + 1e-9))


def rank_correlations(score: ArrayLike, factors: Mapping[str, ArrayLike]) -> dict[str, float]:
    """Spearman's correlation of a score with each factor; 0 where one of them is constant.

    Parameters
    ----------
    score : shape (n,)
    factors : by name, each of shape (n,)

    Raises
    ------
    ValueError : shapes that differ, fewer than three images, a value that is not finite
    """
    ranks = _ranks(score, factors)
    return {name: float(r) for name, r in zip(factors, _correlation(ranks)[0, 1:], strict=True)}


def partial_rank_correlations(
    score: ArrayLike, factors: Mapping[str, ArrayLike]
) -> dict[str, float]:
    """Spearman's partial correlation of a score with each factor, the other factors held fixed.

    It is the correlation of what remains of the ranks of both after linear regression on the ranks
    of all other factors; 0 where the score or the factor is constant.

    Parameters
    ----------
    score, factors : as for `rank_correlations`, with more images than factors

    Raises
    ------
    ValueError : as `rank_correlations`; factors whose ranks determine each other
    """
    ranks = _ranks(score, factors)
    varying = np.ptp(ranks, axis=1) > 0.0
    result = dict.fromkeys(factors, 0.0)
    if not varying[0]:
        return result
    r = _correlation(ranks[varying])
    among, own = r[1:, 1:], r[0, 1:]
    if len(r) > ranks.shape[1] or (len(among) and np.linalg.cond(among) > 1e10):
        raise ValueError(
            "the ranks of some factors determine each other: leave one out, or give more images"
        )
    # From the regression of the score on all factors: a coefficient, the variance that remains,
    # and the variance inflation of each factor.
    inverse = np.linalg.inv(among)
    slope = inverse @ own
    remains = max(1.0 - float(own @ slope), 0.0)
    scale = np.sqrt(slope**2 + remains * np.diag(inverse))
    partial = np.divide(slope, scale, out=np.zeros_like(slope), where=scale > 0.0)
    names = [name for name, kept in zip(factors, varying[1:], strict=True) if kept]
    return result | {name: float(p) for name, p in zip(names, partial, strict=True)}


def person_share(score: ArrayLike, people: ArrayLike) -> float:
    """How much of a score's variance is between people rather than between images of one person.

    The intraclass correlation of a one-way analysis of variance, in [0, 1]: 1 if all images of a
    person have the same score, 0 if people do not differ more than their images do.

    Parameters
    ----------
    score : shape (n,)
    people : the person in each image, shape (n,); two or more people, one with two or more images
    """
    s = np.asarray(score, dtype=np.float64)
    _, person, count = np.unique(np.asarray(people), return_inverse=True, return_counts=True)
    n, k = len(s), len(count)
    if k < 2 or n == k:
        raise ValueError(f"a share needs two or more people with several images, got {k} and {n}")
    mean = np.bincount(person, weights=s) / count
    within = float(((s - mean[person]) ** 2).sum()) / (n - k)
    between = float((count * (mean - s.mean()) ** 2).sum()) / (k - 1)
    images = (n - float((count**2).sum()) / n) / (k - 1)  # per person, for unequal numbers
    total = between + (images - 1.0) * within
    return max((between - within) / total, 0.0) if total > 0.0 else 0.0


def over_people(
    statistic: Callable[[NDArray[np.int64], NDArray[np.int64]], ArrayLike],
    people: ArrayLike,
    *,
    replicates: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Statistics of images with percentile intervals, drawing people with replacement.

    Parameters
    ----------
    statistic : from rows of the images and the drawn person in each, both of shape (m,), to k
        numbers; somebody who is drawn twice has all rows twice, as two persons
    people : the person in each image, shape (n,)
    replicates : number of draws
    confidence : share of the draws inside the interval, in (0, 1)
    seed : of the draws

    Raises
    ------
    ValueError : fewer than two people
    """
    who = np.asarray(people)
    known, person = np.unique(who, return_inverse=True)
    if len(known) < 2:
        raise ValueError(f"an interval over people needs two or more of them, got {len(known)}")
    rows_of = np.split(np.argsort(person, kind="stable"), np.cumsum(np.bincount(person))[:-1])
    rng = np.random.default_rng(seed)
    draws = []
    for chosen in rng.integers(len(known), size=(replicates, len(known))):
        rows = np.concatenate([rows_of[k] for k in chosen])
        drawn = np.repeat(np.arange(len(chosen)), [len(rows_of[k]) for k in chosen])
        draws.append(np.asarray(statistic(rows, drawn), dtype=np.float64))
    tails = [50.0 * (1.0 - confidence), 50.0 * (1.0 + confidence)]
    low, high = np.percentile(np.stack(draws), tails, axis=0)
    whole = np.asarray(statistic(np.arange(len(who)), person), dtype=np.float64)
    return Estimate(whole, low, high)


def _ranks(score: ArrayLike, factors: Mapping[str, ArrayLike]) -> Floats:
    """Ranks of the score, then of each factor; shape (1 + factors, n)."""
    rows = {"score": score, **factors}
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in rows.items()}
    shape = arrays["score"].shape
    if len(shape) != 1 or shape[0] < 3:
        raise ValueError(f"score must have shape (n,) with n at least 3, got {shape}")
    for name, values in arrays.items():
        if values.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {values.shape}")
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(f"{name} of image {bad[0]} is {values[bad[0]]}")
    ranks: Floats = np.stack([rankdata(values) for values in arrays.values()])
    return ranks


def _correlation(rows: Floats) -> Floats:
    """Pearson's correlations of rows; 0 where one of them is constant."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0.0)
    correlations: Floats = unit @ unit.T
    return correlations
