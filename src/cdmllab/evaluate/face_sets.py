"""Protocols on real images, from the data folders: LFW and its like, AT&T's faces, Omniglot."""

import functools
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.data import att_faces, ijb, lfw, omniglot, verification
from cdmllab.data.crop import FACE_PX, Square, resize
from cdmllab.data.pairs import Pairs, sample
from cdmllab.data.sets import ArraySet
from cdmllab.evaluate.cropping import cropped, refuse
from cdmllab.evaluate.npz import InMemory
from cdmllab.evaluate.protocol import Protocol, TemplateList
from cdmllab.preprocessing import WHOLE


def pairs(name: str, size: int | None, square: Square | None = None) -> Protocol:
    """A set of pairs by its name in `cdmllab.data.verification`.

    Its images end where the aligned face ends: a part that reaches beyond is black there.

    Raises
    ------
    DataError : it is not there, and how to get it
    """
    found = verification.load(name)
    if square is not None:
        return cropped(
            Protocol(name, InMemory(found.images), found.pairs, copy=found.copy), square, size
        )
    return Protocol(name, InMemory(_scaled(found.images, size)), found.pairs, copy=found.copy)


def templates(name: str, size: int | None, square: Square | None = None) -> Protocol:
    """IJB-B or IJB-C, its faces aligned at the size that is wanted, as the network sees them."""
    found = verification.load_templates(name)
    pooled = TemplateList(found.template, found.media, found.detector_score)
    return Protocol(name, _Aligned(found, size or FACE_PX, square), found.pairs, templates=pooled)


class _Aligned:
    """The faces of IJB at one size, as `Images`."""

    def __init__(self, found: ijb.TemplateSet, size: int, square: Square | None) -> None:
        self._found, self._size, self._square = found, size, square

    @property
    def content(self) -> tuple[NDArray[np.generic], ...]:
        """Names, points, and the size of each file: half a million are too many to read for a
        digest.
        """
        files = (self._found.root / "loose_crop" / name for name in self._found.names)
        sizes = [file.stat().st_size if file.is_file() else -1 for file in files]
        return (
            np.array(self._found.names),
            self._found.points,
            np.array(sizes),
            np.array(self._square or ()),
        )

    def __len__(self) -> int:
        return len(self._found)

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        return self._found.read(rows, self._size, self._square)


def lfw_archive(
    name: str, view: str, folds: tuple[int, ...], size: int | None, square: Square | None = None
) -> Protocol:
    """LFW from its archive of images: some folds of View 2, or View 1; all images that the
    pairs show, in grey.

    Raises
    ------
    DataError : it is not there, and how to get it
    """
    faces = _lfw(lfw.archive(), size or FACE_PX, square or WHOLE)
    listed = lfw.pairs(faces, view)  # type: ignore[arg-type]
    kept = np.isin(listed.fold, folds) if folds else np.ones(len(listed.fold), dtype=bool)
    chosen = Pairs(listed.first[kept], listed.second[kept], listed.same[kept], listed.fold[kept])
    return _of_some(name, faces, chosen)


def att(name: str, size: int | None, square: Square | None = None) -> Protocol:
    """AT&T's 40 people in 10 folds that share nobody; not aligned."""
    refuse(name, square)
    side = size or FACE_PX
    faces = att_faces.load((side, side))
    return Protocol(name, InMemory(faces.images), att_faces.pairs(faces), faces.labels)


def handwriting(
    name: str, part: str, without: tuple[str, ...], size: int | None, square: Square | None = None
) -> Protocol:
    """Characters of some alphabets of Omniglot; mirrored they are others."""
    refuse(name, square)
    drawn = omniglot.load(part, without=without, size=size or 28)
    return Protocol(name, InMemory(drawn.images), sample(drawn.labels), drawn.labels, mirror=False)


@functools.lru_cache(maxsize=2)
def _lfw(archive: Path | None, size: int, square: Square) -> lfw.Faces:
    return lfw.images(archive, size=(size, size), box=lfw.box(square))


def _of_some(name: str, faces: ArraySet, listed: Pairs) -> Protocol:
    """A protocol over the images that the pairs show, and no others."""
    shown, rows = np.unique(np.concatenate([listed.first, listed.second]), return_inverse=True)
    first, second = np.split(rows, 2)
    chosen = listed._replace(first=first, second=second)
    return Protocol(
        name, InMemory(faces.read(shown)), chosen, faces.labels[shown], names=tuple(faces.names)
    )


def _scaled(images: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    if size is None or images.shape[1:3] == (size, size):
        return images
    return np.stack([resize(image, size, size) for image in images])
