"""Compare every face of an album with every other, and find the surprising pairs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdmllab.data.perceptual import hashes, near
from cdmllab.metrics.scoring import unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DUPLICATE_BITS = 12  # of 256; hashes of one image, stored twice, may differ in this many


class FacePair(NamedTuple):
    """Two faces."""

    first: int
    second: int
    cosine: float


class Suspect(NamedTuple):
    """A face that is more similar to another person than to its own."""

    row: int
    own: float  # mean cosine with the other photos of its person
    other: float  # mean cosine with those of `nearest`
    nearest: int  # the person it resembles most


def table(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """All cosines, shape (n, n); the diagonal is 1."""
    e = unit(embeddings, "face").astype(np.float32)
    cosines: NDArray[np.float32] = np.clip(e @ e.T, -1.0, 1.0)  # rounding may exceed 1
    return cosines


def strangers(cosines: NDArray[np.float32], person: Ints, most: int = 12) -> list[FacePair]:
    """The most similar photos of different people, one pair of photos for each two people."""
    return _first_of_each(cosines, person[:, None] != person[None, :], person, most, falling=True)


def least_alike(cosines: NDArray[np.float32], person: Ints, most: int = 12) -> list[FacePair]:
    """The least similar photos of a person, one pair per person."""
    return _first_of_each(cosines, person[:, None] == person[None, :], person, most, falling=False)


def suspects(cosines: NDArray[np.float32], person: Ints, most: int = 24) -> list[Suspect]:
    """Faces with a higher mean cosine to another person's photos than to their own, worst first.

    Only people with three photos or more are checked: if two photos disagree, either may be wrong.
    The other person needs two photos, so that a single odd photo raises no suspicion.
    """
    people = int(person.max()) + 1
    # One-hot: which face is of which person.
    member = np.zeros((len(person), people), dtype=np.float32)
    member[np.arange(len(person)), person] = 1.0
    count = member.sum(axis=0)
    total = cosines @ member  # [n, people]
    rows = np.arange(len(person))
    # Without the face itself, whose cosine with itself is 1.
    own = (total[rows, person] - np.diagonal(cosines)) / np.maximum(count[person] - 1, 1)
    # People with a single photo are no candidates, and neither is the face's own person.
    mean = np.where((count >= 2)[None, :], total / np.maximum(count, 1), -np.inf)
    mean[rows, person] = -np.inf
    nearest = mean.argmax(axis=1)
    other = mean[rows, nearest]
    wrong = np.flatnonzero((count[person] >= 3) & (other > own))
    ordered = wrong[np.argsort((own - other)[wrong], kind="stable")][:most]
    return [
        Suspect(int(k), float(own[k]), float(other[k]), int(nearest[k])) for k in ordered.tolist()
    ]


def duplicates(faces: NDArray[np.uint8], bits: int = DUPLICATE_BITS) -> list[tuple[int, int]]:
    """Pairs of aligned faces (n, height, width, channels) that are the same image stored twice."""
    signs = hashes(faces)
    close = near(signs, signs, bits)
    upper = close.first < close.second  # each pair once, and no face with itself
    return list(zip(close.first[upper].tolist(), close.second[upper].tolist(), strict=True))


def _first_of_each(
    cosines: NDArray[np.float32],
    mask: NDArray[np.bool_],
    person: Ints,
    most: int,
    *,
    falling: bool,
) -> list[FacePair]:
    """The pairs at one end of the scores, at most one for each two people."""
    i, j = np.nonzero(np.triu(mask, k=1))  # above the diagonal
    values = cosines[i, j]
    order = np.argsort(-values if falling else values, kind="stable")
    low, high = np.minimum(person[i], person[j]), np.maximum(person[i], person[j])
    # One number for each two people, in either order; the first pair of each is its best.
    both = (low * (int(person.max()) + 1) + high)[order]
    best = order[np.sort(np.unique(both, return_index=True)[1])[:most]]
    rows = zip(i[best].tolist(), j[best].tolist(), values[best].tolist(), strict=True)
    return [FacePair(*row) for row in rows]
