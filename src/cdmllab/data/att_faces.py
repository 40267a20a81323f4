"""The Database of Faces of AT&T Laboratories Cambridge: 10 grey images of each of 40 people.

The images have 92 x 112 pixels. They are searched for in the data folders as ``att_faces/s1/1.pgm``
and so on, or as ``att_faces.zip``; scikit-learn's `fetch_olivetti_faces` has the same people at
64 x 64. When using these images, credit AT&T Laboratories Cambridge. Source: Samaria and Harter
1994.
"""

import numpy as np

from cdmllab.data import paths, registry
from cdmllab.data.archives import members
from cdmllab.data.crop import resize
from cdmllab.data.decode import decode, stored
from cdmllab.data.folders import below, listing
from cdmllab.data.identity_protocols import disjoint_pairs
from cdmllab.data.pairs import Pairs
from cdmllab.data.sets import ArraySet
from cdmllab.data.walk import is_clutter, natural
from cdmllab.errors import DataError, optional

FOLDS = 10
_PLACES = registry.get("att_faces").places("images")
HOW_TO_GET = registry.get("att_faces").how_to_get


def available() -> bool:
    """Whether the images are in the data folders."""
    return paths.find(*_PLACES) is not None


def missing() -> str:
    """How to get the images, in a sentence; empty if they are there."""
    return "" if available() else HOW_TO_GET


def load(size: tuple[int, int] = (112, 92)) -> ArraySet:
    """Read all images into memory, person by person; `size` is height and width in pixels.

    Raises
    ------
    DataError : they are missing (the message says how to get them), or one cannot be decoded
    """
    faces = [(name, resize(decode(data, name, colour="GRAY"), *size)) for name, data in _files()]
    # Each person once, in the order of the files.
    people = list(dict.fromkeys(name.split("/")[0] for name, _ in faces))
    labels = np.array([people.index(name.split("/")[0]) for name, _ in faces])
    return ArraySet(np.stack([pixels for _, pixels in faces]), labels, len(people), people)


def stored_size() -> tuple[int, int]:
    """Height and width of the first image in its file; (112, 92) in the originals."""
    name, data = _files()[0]
    height, width, _ = decode(data, name, colour="GRAY").shape
    return height, width


def from_scikit_learn(data_home: str | None = None, *, download: bool = True) -> ArraySet:
    """Load the same people from scikit-learn, at 64 x 64 pixels.

    Raises
    ------
    DataError : they are not stored locally and cannot be downloaded
    """
    with optional("analysis", "AT&T's faces from scikit-learn"):
        from sklearn.datasets import fetch_olivetti_faces

    try:
        fetched = fetch_olivetti_faces(data_home=data_home, download_if_missing=download)
    except OSError as error:
        raise DataError(
            f"scikit-learn has not stored the Olivetti faces and cannot download them ({error})"
        ) from error
    # scikit-learn scales pixels to [0, 1]; undo that, and add the channel.
    images = np.round(fetched.images * 255.0).astype(np.uint8)[..., None]
    return ArraySet(images, fetched.target, 40, [f"s{k + 1}" for k in range(40)])


def pairs(faces: ArraySet, per_fold: int = 150, seed: int = 0) -> Pairs:
    """Pairs in ten folds of four people each; no person is in two folds.

    Each fold has `per_fold` genuine pairs, of 180 possible ones, and as many impostor pairs.
    """
    return disjoint_pairs(faces.labels, per_fold, FOLDS, seed)


def _files() -> list[tuple[str, bytes]]:
    """Names, such as ``s1/1.pgm``, and contents of all images, in natural order."""
    place = paths.find(*_PLACES)
    if place is None:
        raise DataError(HOW_TO_GET)
    if place.is_dir():
        return [(below(file, place), stored(file)) for file in listing(place).files]
    inside = members(place, lambda name: name.endswith(".pgm") and not is_clutter(name))
    # Person and image only: the folders above them depend on who packed the archive.
    named = [("/".join(name.split("/")[-2:]), data) for name, data in inside]
    return sorted(named, key=lambda item: natural(item[0]))
