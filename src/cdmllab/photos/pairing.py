"""Draw the pairs of a verification protocol: seeded, balanced, in folds that share no people."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdmllab.data import pairs
from cdmllab.data.pairs import Pairs
from cdmllab.errors import CdmlLabError
from cdmllab.metrics.scoring import unit

Ints = NDArray[np.int64]
MOST_HARD = 3000  # images in a fold of which every pair is scored
USUAL_PER_FOLD = 300  # as in LFW


class Rules(NamedTuple):
    """How pairs are drawn."""

    folds: int = 10
    per_fold: int | None = None  # genuine pairs, and impostor pairs; None: up to 300
    hard: float = 0.0  # share of impostor pairs that are the most similar ones
    seed: int = 0


def draw(
    labels: NDArray[np.integer], rules: Rules, embeddings: NDArray[np.floating] | None = None
) -> Pairs:
    """Draw a protocol; each fold has its own people, and as many genuine as impostor pairs.

    Parameters
    ----------
    labels : the person of each image, shape (n,)
    rules : see `Rules`
    embeddings : of the images, shape (n, d); hard impostors are chosen by them

    Raises
    ------
    CdmlLabError : too few people or images for these rules; names the available numbers and
        possible rules
    """
    ids = np.asarray(labels, dtype=np.int64)
    fold = deal(ids, rules.folds, rules.seed)
    rows_of = [np.flatnonzero(fold == k) for k in range(rules.folds)]
    # The fold with the fewest possible pairs limits all of them.
    available = [_available(ids[rows]) for rows in rows_of]
    most = min(min(genuine, impostor) for genuine, impostor in available)
    per_fold = min(most, USUAL_PER_FOLD) if rules.per_fold is None else rules.per_fold
    if per_fold > most:
        worst = min(range(rules.folds), key=lambda k: min(available[k]))
        genuine, impostor = available[worst]
        raise CdmlLabError(
            f"{per_fold:,} genuine and as many impostor pairs per fold were requested, but fold "
            f"{worst + 1} has {genuine:,} and {impostor:,}: at most {most:,} can be drawn"
        )
    folds_of_pairs = []
    for k, rows in enumerate(rows_of):
        drawn = pairs.sample(ids[rows], per_fold, 1, seed=rules.seed + k)
        first, second = rows[drawn.first], rows[drawn.second]
        if rules.hard > 0.0 and embeddings is not None:
            # Replace random impostors by the most similar ones, within the fold.
            hard = _hardest(ids, rows, embeddings, round(rules.hard * per_fold))
            first, second = _with_hard(first, second, hard)
        folds_of_pairs.append(Pairs(first, second, drawn.same, np.full(2 * per_fold, k)))
    return Pairs(*(np.concatenate(column) for column in zip(*folds_of_pairs, strict=True)))


def deal(ids: Ints, folds: int, seed: int) -> Ints:
    """The fold of each image, shape (n,).

    People are distributed so that folds have similar numbers of genuine pairs, and at least two
    people each.

    Raises
    ------
    CdmlLabError : too few people, or too few with two images
    """
    if folds < 2:
        raise CdmlLabError(f"folds must be 2 or more, got {folds}")
    people, inverse, count = np.unique(ids, return_inverse=True, return_counts=True)
    paired = int((count >= 2).sum())
    if paired < folds or len(people) < 2 * folds:
        fit = min(paired, len(people) // 2)
        hint = f"; {fit} folds are possible" if fit >= 2 else ""
        raise CdmlLabError(
            f"{len(people):,} people, {paired:,} of them with two images or more, do not fill "
            f"{folds} folds that share no people: a fold needs two people, one of them with two "
            f"images{hint}"
        )
    # Largest first, at random among equals: the last ones then even out the folds.
    shuffled = np.random.default_rng(seed).permutation(len(people))
    genuine = count * (count - 1) // 2
    load = np.zeros((folds, 2), dtype=np.int64)  # genuine pairs, people
    fold_of = np.empty(len(people), dtype=np.int64)
    for person in shuffled[np.argsort(-genuine[shuffled], kind="stable")].tolist():
        pairs_there, people_there = load.T  # by fold
        keys: tuple[Ints, ...]
        if genuine[person] == 0:  # no remaining person has a pair: balance the number of people
            keys = (pairs_there, people_there)
        else:
            # The last key counts first: folds with fewer than two people, then fewer pairs.
            keys = (people_there, pairs_there, (people_there >= 2).astype(np.int64))
        chosen = int(np.lexsort(keys)[0])
        fold_of[person] = chosen
        load[chosen] += (genuine[person], 1)
    return fold_of[inverse]


def _available(ids: Ints) -> tuple[int, int]:
    """The numbers of possible genuine and impostor pairs."""
    count = np.unique(ids, return_counts=True)[1]
    genuine = int((count * (count - 1) // 2).sum())
    return genuine, len(ids) * (len(ids) - 1) // 2 - genuine


def _hardest(ids: Ints, rows: Ints, embeddings: NDArray[np.floating], count: int) -> Ints:
    """The most similar pairs of different people, shape (count, 2).

    The best pair of each two people comes first, then the second best, so that one look-alike does
    not fill a fold.
    """
    if len(rows) > MOST_HARD:
        raise CdmlLabError(
            f"a fold has {len(rows):,} images, but hard impostors can be chosen among at "
            f"most {MOST_HARD:,}: use more folds or a smaller folder"
        )
    e = unit(embeddings[rows])
    # Pairs of different people, most similar first.
    i, j = np.triu_indices(len(rows), k=1)
    apart = ids[rows][i] != ids[rows][j]
    i, j = i[apart], j[apart]
    # Many pairs: one matrix product of all rows is faster than gathering their embeddings.
    score = np.einsum("pd,pd->p", e[i], e[j]) if len(i) < 100_000 else (e @ e.T)[i, j]
    order = np.argsort(-score, kind="stable")
    i, j = i[order], j[order]
    a, b = ids[rows][i], ids[rows][j]
    # How many pairs of the same two people come before each: their best has turn 0.
    both = np.minimum(a, b) * (int(ids.max()) + 1) + np.maximum(a, b)
    by_two = np.argsort(both, kind="stable")
    starts = np.flatnonzero(np.append(True, both[by_two][1:] != both[by_two][:-1]))
    sizes = np.diff(np.append(starts, len(both)))
    turn = np.empty(len(both), dtype=np.int64)
    turn[by_two] = np.arange(len(both)) - np.repeat(starts, sizes)
    best = np.argsort(turn, kind="stable")[:count]
    return np.stack([rows[i[best]], rows[j[best]]], axis=1)


def _with_hard(first: Ints, second: Ints, hard: Ints) -> tuple[Ints, Ints]:
    """The pairs of a fold, genuine ones first, with hard impostors in place of random ones."""
    per_fold = len(first) // 2
    # Each pair in one order only, to recognise it whichever way it was drawn.
    taken = {(min(pair), max(pair)) for pair in hard.tolist()}
    drawn = [
        pair
        for pair in zip(first[per_fold:].tolist(), second[per_fold:].tolist(), strict=True)
        if (min(pair), max(pair)) not in taken
    ]
    impostors = np.array([*hard.tolist(), *drawn][:per_fold], dtype=np.int64)
    return (
        np.concatenate([first[:per_fold], impostors[:, 0]]),
        np.concatenate([second[:per_fold], impostors[:, 1]]),
    )
