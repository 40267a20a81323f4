"""The Database of Faces of AT&T Laboratories Cambridge: 40 people x 10 grey images, 92 x 112
pixels.

Found in the data folders as ``att_faces/s1/1.pgm`` .., or as ``att_faces.zip``; scikit-learn's
`fetch_olivetti_faces` has the same people at 64 x 64. When using these images, credit AT&T
Laboratories Cambridge. Source: Samaria and Harter 1994.
"""

import numpy as np

from cdmllab.data import paths, registry
from cdmllab.data.archives import is_clutter, members
from cdmllab.data.crop import resize
from cdmllab.data.decode import decode, stored
from cdmllab.data.folders import below, listing
from cdmllab.data.identity_protocols import disjoint_pairs
from cdmllab.data.pairs import Pairs
from cdmllab.data.sets import ArraySet
from cdmllab.data.walk import natural
from cdmllab.errors import DataError, optional

FOLDS = 10
_PLACES = registry.get("att_faces").places("images")
HOW = registry.get("att_faces").how


def available() -> bool:
    """Whether the images are there."""
    return paths.find(*_PLACES) is not None


def missing() -> str:
    """How to get them, in a sentence; empty when they are there."""
    return "" if available() else HOW


def load(size: tuple[int, int] = (112, 92)) -> ArraySet:
    """All images in memory, person by person; `size` is height and width in pixels.

    Raises
    ------
    DataError : they are not there (how to get them is told), or one cannot be decoded
    """
    found = [(name, resize(decode(data, name, colour="GRAY"), *size)) for name, data in _files()]
    people = list(dict.fromkeys(name.split("/")[0] for name, _ in found))
    labels = np.array([people.index(name.split("/")[0]) for name, _ in found])
    return ArraySet(np.stack([pixels for _, pixels in found]), labels, len(people), people)


def stored_size() -> tuple[int, int]:
    """Height and width of the first image as it is stored; (112, 92) in the originals."""
    name, data = _files()[0]
    height, width, _ = decode(data, name, colour="GRAY").shape
    return height, width


def from_scikit_learn(data_home: str | None = None, *, download: bool = True) -> ArraySet:
    """The same people from scikit-learn, 64 x 64 pixels.

    Raises
    ------
    DataError : they are neither stored nor could be downloaded
    """
    with optional("analysis", "AT&T's faces from scikit-learn"):
        from sklearn.datasets import fetch_olivetti_faces

    try:
        fetched = fetch_olivetti_faces(data_home=data_home, download_if_missing=download)
    except OSError as error:
        raise DataError(
            f"scikit-learn has no Olivetti faces stored and could not get them ({error})"
        ) from error
    images = np.round(fetched.images * 255.0).astype(np.uint8)[..., None]
    return ArraySet(images, fetched.target, 40, [f"s{k + 1}" for k in range(40)])


def pairs(faces: ArraySet, per_fold: int = 150, seed: int = 0) -> Pairs:
    """Ten folds of four people each, nobody in two: `per_fold` genuine (of 180) and as many
    impostor pairs.
    """
    return disjoint_pairs(faces.labels, per_fold, FOLDS, seed)


def _files() -> list[tuple[str, bytes]]:
    """``s1/1.pgm`` and content, in natural order."""
    place = paths.find(*_PLACES)
    if place is None:
        raise DataError(HOW)
    if place.is_dir():
        found = listing(place).files
        return [(below(file, place), stored(file)) for file in found]
    inside = members(place, lambda name: name.endswith(".pgm") and not is_clutter(name))
    found_inside = [("/".join(name.split("/")[-2:]), data) for name, data in inside]
    return sorted(found_inside, key=lambda item: natural(item[0]))
