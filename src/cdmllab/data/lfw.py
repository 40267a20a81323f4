"""Labeled Faces in the Wild: images, View 2, and folds that share no people with training.

Found in the data folders (`cdmllab.data.paths`), below ``lfw/``: LFW-a, grey and aligned (Wolf,
Hassner and Taigman), as ``lfwa.tar.gz``; or in colour ``lfw-deepfunneled.tgz``,
``lfw-funneled.tgz``, ``lfw.tgz``, or Kaggle's ``archive.zip`` (``lfw-dataset.zip``); or any of them
unpacked. The pairs are ``pairs.txt`` or ``pairs.csv``, which Kaggle's zip holds.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab._util.files import read_record, sha256
from cdmllab.data import lfw_lists, paths, registry
from cdmllab.data.archives import is_clutter, members
from cdmllab.data.crop import Box, Square, crop, part_of, resize
from cdmllab.data.decode import Colour, decode, stored
from cdmllab.data.folders import below
from cdmllab.data.pairs import Pairs
from cdmllab.data.sets import ArraySet, Subset, without
from cdmllab.data.walk import natural
from cdmllab.errors import DataError

_ENTRY = registry.get("lfw")
ARCHIVES = _ENTRY.places("images")
# Unpacked. ``lfw`` itself may hold the people, or what a mirror put there; the last two are those
# of scikit-learn and torchvision.
FOLDERS = (
    *("lfw/lfwa", "lfw/lfw-deepfunneled", "lfw/lfw_funneled", "lfw/lfw-funneled", "lfw/lfw", "lfw"),
    *("lfw_home", "lfw-py"),
)
VIEWS = {
    "2": _ENTRY.places("pairs"),
    "1-train": _ENTRY.places("View 1, training"),
    "1-test": _ENTRY.places("View 1, test"),
}
# The square of the 250 x 250 image that puts eyes and mouth of LFW-a's mean face where the 112
# template wants them.
FACE = Box(58, 50, 192, 184)
FOLDS = "folds.json"  # next to the pack that `data_scripts/lfw.py` makes
HOW = _ENTRY.how


def box(square: Square) -> Box:
    """The pixels of LFW-a's 250 x 250 that show a part of an aligned face, see `crop.part_of`."""
    return part_of(FACE, square)


class Faces(ArraySet):
    """The images of LFW in memory; row k is the image ``files[k]``, ``Name/Name_0001.jpg``."""

    def __init__(
        self, images: NDArray[np.uint8], labels: ArrayLike, names: list[str], numbers: list[int]
    ) -> None:
        super().__init__(images, labels, len(names), names)
        self.files = tuple(
            f"{names[label]}/{names[label]}_{number:04d}.jpg"
            for label, number in zip(self.labels.tolist(), numbers, strict=True)
        )


def archive() -> Path | None:
    """The archive of images, or the folder of one that was unpacked, if it is there."""
    packed = paths.find(*ARCHIVES)
    if packed is not None:
        return packed
    unpacked = (root / name for root in paths.roots() for name in FOLDERS)
    return next((folder for folder in unpacked if any(_files(folder))), None)


def pair_file(view: str = "2") -> Path | None:
    """The file with a view's pairs, or the archive that holds it, if it is there."""
    there = paths.find(*VIEWS[view])
    place = archive()
    if there is None and place is not None and _inside(place, view) is not None:
        return place
    return there


def available() -> bool:
    """Whether images and View 2 are there."""
    return archive() is not None and pair_file() is not None


def missing() -> str:
    """How to get them, in a sentence; empty when they are there."""
    return "" if available() else HOW


def images(
    path: Path | None = None,
    *,
    size: tuple[int, int] = (112, 112),
    box: Box = FACE,
    colour: Colour = "GRAY",
) -> Faces:
    """All images in memory, ordered by person, people in alphabetical order: `names` are theirs.

    Parameters
    ----------
    path : the archive, or the folder of an unpacked one; default: the first found
    size : height and width in pixels
    box : the part of the 250 x 250 image that is shown
    colour : ``"GRAY"`` or ``"RGB"``

    Raises
    ------
    DataError : there is no archive (the message says how to get it), an image cannot be decoded, is
        not named as in LFW, or is there twice
    """
    path = path or archive()
    if path is None:
        raise DataError(HOW)
    found: dict[tuple[str, int], NDArray[np.uint8]] = {}
    for name, content in _contents(path):
        named = lfw_lists.image(name)
        if named is None:
            raise DataError(f"{path}: {name} is not named as LFW's images are, Name_0001.jpg")
        key = named[0], int(named[1])
        if key in found:
            raise DataError(
                f"{path} holds {named[0]}_{named[1]}.jpg twice: it may hold two versions of LFW; "
                f"name one"
            )
        pixels = decode(content, f"{path}, {name}", colour=colour)
        found[key] = resize(crop(pixels, box), *size)
    if not found:
        raise DataError(f"{path} holds no images")
    keys = sorted(found, key=lambda key: natural(f"{key[0]}/{key[0]}_{key[1]:04d}.jpg"))
    people = sorted({person for person, _ in keys}, key=natural)
    label = {person: k for k, person in enumerate(people)}
    labels = np.array([label[person] for person, _ in keys])
    return Faces(
        np.stack([found[key] for key in keys]), labels, people, [number for _, number in keys]
    )


class Files(Protocol):
    """Rows that each stand for a file of LFW, in the order of `images`: its images, or what was
    made of them.
    """

    @property
    def files(self) -> Sequence[str]:
        """The file of each row, ``Name/Name_0001.jpg``."""


class Labels(Protocol):
    """Rows that each show a person."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The person of each row."""


def pairs(
    faces: Files, view: Literal["2", "1-train", "1-test"] = "2", path: Path | None = None
) -> Pairs:
    """A view's pairs as rows of `faces`.

    Parameters
    ----------
    faces : as `images` gives them, or features of them
    view : ``"2"`` for the ten folds that are reported, ``"1-train"`` and ``"1-test"`` for choosing
        settings
    path : the pair file, or an archive that holds it; default: the view's own in the data folders

    Raises
    ------
    DataError : the file is missing, or names an image that is not there
    """
    path = path or pair_file(view)
    if path is None:
        raise DataError(f"{VIEWS[view][0]} is missing (looked in {paths.searched()}). {HOW}")
    listed = lfw_lists.lfw(path, _inside(path, view))
    rows = {file: row for row, file in enumerate(faces.files)}
    for name in listed.names:
        if name not in rows:
            raise DataError(f"{path} names {name}, which is not among the images")
    row = np.array([rows[name] for name in listed.names])
    return listed.pairs._replace(first=row[listed.pairs.first], second=row[listed.pairs.second])


def people_in(faces: Labels, protocol: Pairs, fold: int) -> NDArray[np.int64]:
    """The identities that a fold's pairs show."""
    chosen = protocol.fold == fold
    return np.unique(
        faces.labels[np.concatenate([protocol.first[chosen], protocol.second[chosen]])]
    )


def training_part(faces: ArraySet, protocol: Pairs, *folds: int) -> Subset:
    """What may be trained on when `folds` are tested: everybody that none of their pairs shows."""
    if not folds or not set(folds) <= set(protocol.fold.tolist()):
        raise ValueError(
            f"folds must be some of {sorted(set(protocol.fold.tolist()))}, got {folds}"
        )
    return without(faces, np.concatenate([people_in(faces, protocol, fold) for fold in folds]))


def people_left_out(pack: Path | str, *folds: int) -> NDArray[np.int64]:
    """The identities of the pack ``lfw_112`` that the pairs of some folds show; see
    `cdmllab.data.sets.without`.

    Raises
    ------
    DataError : the pack's ``folds.json`` is missing or has no such fold
    """
    path = Path(pack) / FOLDS
    if not path.is_file():
        raise DataError(f"{path} does not exist: `{_ENTRY.command}` makes it")
    people: Any = read_record(path).get("identities_in_pairs")
    try:
        chosen = [np.array(people[str(fold)], dtype=np.int64) for fold in folds]
        return np.unique(np.concatenate(chosen))
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"{path} does not list the people of the folds {folds} ({error!r})"
        ) from None


def digest(place: Path) -> str:
    """SHA-256 of an archive, or of the names and contents of an unpacked one's images."""
    if place.is_file():
        return sha256(place)
    found = hashlib.sha256()
    for file in sorted(_files(place)):
        found.update(f"{file.relative_to(place).as_posix()} {file.stat().st_size}\n".encode())
        found.update(file.read_bytes())
    return found.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """The images below a folder, at whatever depth."""
    for file in folder.rglob("*.[jJ][pP]*[gG]"):
        if not is_clutter(file.relative_to(folder).as_posix()) and file.is_file():
            yield file


def _contents(place: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the images of an archive or of a folder."""
    if place.is_dir():
        for file in _files(place):
            yield below(file, place), stored(file)
    else:
        yield from members(
            place, lambda name: name.lower().endswith((".jpg", ".jpeg")) and not is_clutter(name)
        )


def _inside(place: Path, view: str) -> bytes | None:
    """A view's pairs within a zip; None where `place` is none, or holds none."""
    if place.suffix != ".zip":
        return None
    wanted = [Path(name).name for name in VIEWS[view]]
    found = members(place, lambda name: Path(name).name in wanted and not is_clutter(name))
    return next((content for _, content in found), None)
