"""Verification pairs: which two images are compared, and in which fold."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Pairs(NamedTuple):
    """A verification protocol: p pairs of rows of the images."""

    first: NDArray[np.int64]  # [p]
    second: NDArray[np.int64]  # [p]
    same: NDArray[np.bool_]  # [p] genuine (True) or impostor
    fold: NDArray[np.int64]  # [p] 0 .. number of folds - 1


def sample(labels: ArrayLike, per_fold: int = 300, folds: int = 10, seed: int = 0) -> Pairs:
    """Draw a protocol of LFW's shape: in each fold `per_fold` genuine and as many impostor pairs.

    No pair occurs twice, in either order. Genuine pairs are drawn evenly over identities as far as
    they have pairs left; impostor pairs evenly over images.

    Parameters
    ----------
    labels : identity of each image, shape (n,)
    per_fold : genuine pairs per fold, and as many impostor pairs
    folds : number of folds
    seed : the same seed gives the same pairs

    Raises
    ------
    ValueError : the images give fewer distinct pairs than that

    Examples
    --------
    Ten people with four images each, in two folds of six pairs:

    >>> drawn = sample([person for person in range(10) for _ in range(4)], per_fold=3, folds=2)
    >>> drawn.same.sum(), len(drawn.same), drawn.fold.tolist().count(0)
    (np.int64(6), 12, 6)
    """
    ids = np.asarray(labels)
    needed = per_fold * folds
    rng = np.random.default_rng(seed)
    genuine = _genuine(ids, needed, rng)
    impostor = _impostor(ids, needed, rng)
    # Both kinds have the same folds; sort by fold, genuine pairs first within each.
    fold = np.arange(needed) // per_fold
    both = np.concatenate([genuine, impostor])
    same = np.repeat([True, False], needed)
    order = np.argsort(np.concatenate([fold, fold]), kind="stable")
    return Pairs(both[order, 0], both[order, 1], same[order], np.concatenate([fold, fold])[order])


def in_folds(count: int, folds: int) -> NDArray[np.int64]:
    """The fold of each of `count` pairs in a list: consecutive folds, as equal as possible.

    If `count` is not a multiple of `folds`, the first ones have one pair more. This is
    scikit-learn's ``KFold`` without shuffling, which arcface_torch and FaceNet's code use.

    Raises
    ------
    ValueError : fewer pairs than folds
    """
    if count < folds:
        raise ValueError(f"{count:,} pairs do not fill {folds} folds")
    sizes = count // folds + (np.arange(folds) < count % folds)
    return np.repeat(np.arange(folds), sizes)


def every(labels: ArrayLike) -> Pairs:
    """All n (n - 1) / 2 pairs of n images in one fold, for histograms and exact ROC curves."""
    ids = np.asarray(labels)
    first, second = np.triu_indices(len(ids), k=1)
    return Pairs(first, second, ids[first] == ids[second], np.zeros(len(first), dtype=np.int64))


def _genuine(ids: NDArray[np.int64], needed: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw in rounds one unused genuine pair of every identity, so that all count equally."""
    queues = []
    for identity in np.unique(ids):
        # All pairs of this identity, in random order.
        members = np.flatnonzero(ids == identity)
        if len(members) > 1:
            i, j = np.triu_indices(len(members), k=1)
            order = rng.permutation(len(i))
            queues.append(np.stack([members[i[order]], members[j[order]]], axis=1))
    available = sum(map(len, queues))
    if available < needed:
        raise ValueError(
            f"{needed:,} genuine pairs are needed, but the images give only {available:,}"
        )
    ranked = np.concatenate(queues)
    # Round k takes the k-th pair of each identity; the fraction orders identities within a round.
    turn = np.concatenate([np.arange(len(q)) + rng.random(len(q)) for q in queues])
    chosen: NDArray[np.int64] = ranked[np.argsort(turn, kind="stable")[:needed]]
    return rng.permutation(chosen)  # spread the rounds over all folds


def _impostor(ids: NDArray[np.int64], needed: int, rng: np.random.Generator) -> NDArray[np.int64]:
    n = len(ids)
    counts = np.unique(ids, return_counts=True)[1]
    # Ordered pairs of images of different people, halved because the order does not count.
    available = (n * n - int((counts * counts).sum())) // 2
    if available < needed:
        raise ValueError(
            f"{needed:,} impostor pairs are needed, but the images give only {available:,}"
        )
    # Draw until there are enough, always smaller row first;
    # the dictionary drops repetitions and keeps the order.
    seen: dict[tuple[int, int], None] = {}
    while len(seen) < needed:
        a, b = rng.integers(0, n, size=(2, 2 * needed))
        different = ids[a] != ids[b]  # by label, which also excludes an image with itself
        for i, j in zip(np.minimum(a, b)[different], np.maximum(a, b)[different], strict=True):
            seen[int(i), int(j)] = None
    return np.array(list(seen)[:needed], dtype=np.int64)
