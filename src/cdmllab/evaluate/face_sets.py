"""Protocols on real images from the data folders: LFW and similar sets, AT&T, Omniglot."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.data import att_faces, ijb, lfw, omniglot, verification
from cdmllab.data.crop import FACE_PX, Square, resize
from cdmllab.data.pairs import Pairs
from cdmllab.data.sets import ArraySet
from cdmllab.evaluate.cropping import cropped, refuse
from cdmllab.evaluate.npz import InMemory
from cdmllab.evaluate.protocol import Protocol, TemplateList
from cdmllab.preprocessing import WHOLE


def pairs(name: str, size: int | None, square: Square | None = None) -> Protocol:
    """A set of pairs by its name in `cdmllab.data.verification`.

    Its images end at the edge of the aligned face: a crop that reaches beyond is black there.

    Raises
    ------
    DataError : the data is missing; the message says how to get it
    """
    pair_set = verification.load(name)
    # Crop from the original images, which have more detail than images scaled to `size`.
    if square is not None:
        return cropped(
            Protocol(name, InMemory(pair_set.images), pair_set.pairs, copy=pair_set.copy),
            square,
            size,
        )
    images = InMemory(_scaled(pair_set.images, size))
    return Protocol(name, images, pair_set.pairs, copy=pair_set.copy)


def templates(name: str, size: int | None, square: Square | None = None) -> Protocol:
    """IJB-B or IJB-C, with faces aligned at the network's own size and crop."""
    ijb_set = verification.load_templates(name)
    pooled = TemplateList(ijb_set.template, ijb_set.media, ijb_set.detector_score)
    images = _Aligned(ijb_set, size or FACE_PX, square)
    return Protocol(name, images, ijb_set.pairs, templates=pooled)


class _Aligned:
    """The faces of IJB at one size, as `Images`."""

    def __init__(self, faces: ijb.TemplateSet, size: int, square: Square | None) -> None:
        self._faces, self._size, self._square = faces, size, square

    @property
    def content(self) -> tuple[NDArray[np.generic], ...]:
        """Names, landmarks and file sizes, for `Protocol.digest`.

        Reading half a million files for a digest would take too long.
        """
        files = (self._faces.root / "loose_crop" / name for name in self._faces.names)
        # A missing file has the size -1: reading it will fail later, with its name.
        sizes = [file.stat().st_size if file.is_file() else -1 for file in files]
        return (
            np.array(self._faces.names),
            self._faces.points,
            np.array(sizes),
            np.array(self._square or ()),
        )

    def __len__(self) -> int:
        return len(self._faces)

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        return self._faces.read(rows, self._size, self._square)


def lfw_archive(
    name: str, view: str, folds: tuple[int, ...], size: int | None, square: Square | None = None
) -> Protocol:
    """LFW from its archive of grey images: some folds of View 2, or View 1.

    Raises
    ------
    DataError : the archive is missing; the message says how to get it
    """
    faces = _lfw(lfw.archive(), size or FACE_PX, square or WHOLE)
    listed = lfw.pairs(faces, view)  # type: ignore[arg-type]  # `view` is a plain str
    kept = np.isin(listed.fold, folds) if folds else np.ones(len(listed.fold), dtype=bool)
    chosen = Pairs(listed.first[kept], listed.second[kept], listed.same[kept], listed.fold[kept])
    return _of_some(name, faces, chosen)


def att(name: str, size: int | None, square: Square | None = None) -> Protocol:
    """AT&T's 40 people in 10 folds without a person in common; the faces are not aligned."""
    refuse(name, square)
    side = size or FACE_PX
    faces = att_faces.load((side, side))
    return Protocol(name, InMemory(faces.images), att_faces.pairs(faces), faces.labels)


def handwriting(
    name: str,
    part: str,
    without: tuple[str, ...],
    choose: Callable[[ArrayLike], Pairs],
    size: int | None,
    square: Square | None = None,
) -> Protocol:
    """Characters of some alphabets of Omniglot. A mirrored character is another character."""
    refuse(name, square)
    # 28 is the usual size of Omniglot in few-shot learning.
    drawn = omniglot.load(part, without=without, size=size or 28)
    chosen = choose(drawn.labels)
    return Protocol(name, InMemory(drawn.images), chosen, drawn.labels, mirror=False)


# Cached: several protocols use the same archive at the same size.
@functools.lru_cache(maxsize=2)
def _lfw(archive: Path | None, size: int, square: Square) -> lfw.Faces:
    return lfw.images(archive, size=(size, size), box=lfw.box(square))


def _of_some(name: str, faces: ArraySet, listed: Pairs) -> Protocol:
    """A protocol with only those images that occur in a pair."""
    # Keep images that occur in a pair, and renumber the pairs' rows to match.
    used, rows = np.unique(np.concatenate([listed.first, listed.second]), return_inverse=True)
    first, second = np.split(rows, 2)
    chosen = listed._replace(first=first, second=second)
    return Protocol(
        name, InMemory(faces.read(used)), chosen, faces.labels[used], names=tuple(faces.names)
    )


def _scaled(images: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    if size is None or images.shape[1:3] == (size, size):
        return images
    return np.stack([resize(image, size, size) for image in images])
