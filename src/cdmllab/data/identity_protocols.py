"""Protocols for data sets that come without one: folds of people, galleries, probes and pairs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.data import pairs
from cdmllab.data.pairs import Pairs
from cdmllab.data.sets import occurrence

Rows = NDArray[np.int64]


class GalleryProbes(NamedTuple):
    """Enrolled images and images to recognise; no image is both."""

    gallery: Rows
    probes: Rows


def folds(labels: ArrayLike, count: int = 10, seed: int = 0) -> Rows:
    """The fold of each image, shape (n,): people are dealt to folds, so that nobody is in two.

    Raises
    ------
    ValueError : fewer people than folds
    """
    people, inverse = np.unique(np.asarray(labels), return_inverse=True)
    if len(people) < count:
        raise ValueError(f"{len(people)} people cannot be split into {count} folds")
    # The fold of each person.
    dealt: Rows = np.random.default_rng(seed).permutation(len(people)) % count
    return dealt[inverse]


def disjoint_pairs(labels: ArrayLike, per_fold: int, count: int = 10, seed: int = 0) -> Pairs:
    """Draw `per_fold` genuine and as many impostor pairs in each of `count` folds.

    No person is in two folds.

    Raises
    ------
    ValueError : fewer people than folds, or a fold with too few different pairs
    """
    ids = np.asarray(labels)
    fold = folds(ids, count, seed)
    parts = []
    for k in range(count):
        # Sample among the people of this fold, and translate positions to rows of all images.
        rows = np.flatnonzero(fold == k)
        drawn = pairs.sample(ids[rows], per_fold, 1, seed=seed + k)
        parts.append(
            Pairs(rows[drawn.first], rows[drawn.second], drawn.same, np.full(2 * per_fold, k))
        )
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def every_pair(labels: ArrayLike, count: int = 10, seed: int = 0) -> Pairs:
    """All pairs within each of `count` folds that share no people, to resolve small FARs.

    Raises
    ------
    ValueError : fewer people than folds
    """
    ids = np.asarray(labels)
    fold = folds(ids, count, seed)
    parts = []
    for k in range(count):
        rows = np.flatnonzero(fold == k)
        within = pairs.every(ids[rows])
        parts.append(Pairs(rows[within.first], rows[within.second], within.same, within.fold + k))
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def gallery_and_probes(labels: ArrayLike, per_identity: int = 1, seed: int = 0) -> GalleryProbes:
    """Draw `per_identity` images of each person for the gallery; all others are probes.

    A person with no more images than that is in the gallery only.
    """
    ids = np.asarray(labels)
    # In a random order of the images, the first of each person go to the gallery.
    shuffled = np.random.default_rng(seed).permutation(len(ids))
    first = occurrence(ids[shuffled]) < per_identity
    return GalleryProbes(np.sort(shuffled[first]), np.sort(shuffled[~first]))


def gallery_pairs(
    labels: ArrayLike, split: GalleryProbes, per_fold: int = 300, count: int = 10, seed: int = 0
) -> Pairs:
    """Pairs of a gallery image (first) and a probe (second), in folds that share no people.

    In each fold `per_fold` genuine and as many impostor pairs; no pair occurs twice.

    Raises
    ------
    ValueError : a fold has too few different pairs
    """
    ids = np.asarray(labels)
    fold = folds(ids, count, seed)
    rng = np.random.default_rng(seed)
    parts = []
    for k in range(count):
        # The gallery images and the probes of this fold's people.
        gallery, probes = (rows[fold[rows] == k] for rows in split)
        alike = ids[gallery][:, None] == ids[probes][None, :]  # [gallery, probes]
        for same in (True, False):
            i, j = np.nonzero(alike == same)
            if len(i) < per_fold:
                kind = "genuine" if same else "impostor"
                raise ValueError(
                    f"fold {k}: {per_fold} {kind} pairs are needed, but there are only {len(i)}"
                )
            chosen = rng.choice(len(i), per_fold, replace=False)
            parts.append(
                Pairs(
                    gallery[i[chosen]],
                    probes[j[chosen]],
                    np.full(per_fold, same),
                    np.full(per_fold, k),
                )
            )
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
