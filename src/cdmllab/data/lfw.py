"""Labeled Faces in the Wild: images, the pairs of both views, and training sets for each fold.

The images are searched for in the data folders (`cdmllab.data.paths`), below ``lfw/``: LFW-a, grey
and aligned (Wolf, Hassner and Taigman), as ``lfwa.tar.gz``; in colour, ``lfw-deepfunneled.tgz``,
``lfw-funneled.tgz``, ``lfw.tgz`` or Kaggle's ``archive.zip`` (``lfw-dataset.zip``); or any of them
unpacked. The pairs are in ``pairs.txt`` or ``pairs.csv``, which Kaggle's zip contains.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab._util.files import read_record, sha256
from cdmllab.data import lfw_lists, paths, registry
from cdmllab.data.archives import members
from cdmllab.data.crop import Box, Square, crop, part_of, resize
from cdmllab.data.decode import Colour, decode, stored
from cdmllab.data.folders import below
from cdmllab.data.pairs import Pairs
from cdmllab.data.sets import ArraySet, Subset, without
from cdmllab.data.walk import is_clutter, natural
from cdmllab.errors import DataError

_ENTRY = registry.get("lfw")
ARCHIVES = _ENTRY.places("images")
# Unpacked. ``lfw`` itself may contain the folders of people, or folders that a mirror packed; the
# last two are those of scikit-learn and torchvision.
FOLDERS = (
    *("lfw/lfwa", "lfw/lfw-deepfunneled", "lfw/lfw_funneled", "lfw/lfw-funneled", "lfw/lfw", "lfw"),
    *("lfw_home", "lfw-py"),
)
VIEWS = {
    "2": _ENTRY.places("pairs"),
    "1-train": _ENTRY.places("View 1, training"),
    "1-test": _ENTRY.places("View 1, test"),
}
# The square of LFW-a's 250 x 250 image that puts the eyes and mouth of its mean face where the
# template at 112 x 112 has them.
FACE = Box(58, 50, 192, 184)
FOLDS = "folds.json"  # next to the pack that `data_scripts/lfw.py` creates
HOW_TO_GET = _ENTRY.how_to_get


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
    """The archive of images, or the folder of an unpacked one; None if neither exists."""
    packed = paths.find(*ARCHIVES)
    if packed is not None:
        return packed
    unpacked = (root / name for root in paths.roots() for name in FOLDERS)
    return next((folder for folder in unpacked if any(_files(folder))), None)


def pair_file(view: str = "2") -> Path | None:
    """The file with a view's pairs, or the archive that contains it; None if neither exists."""
    file = paths.find(*VIEWS[view])
    place = archive()
    # Kaggle's archive contains the pairs as well.
    if file is None and place is not None and _pairs_inside(place, view) is not None:
        return place
    return file


def available() -> bool:
    """Whether the images and View 2 are in the data folders."""
    return archive() is not None and pair_file() is not None


def missing() -> str:
    """How to get the images and View 2, in a sentence; empty if they are there."""
    return "" if available() else HOW_TO_GET


def images(
    path: Path | None = None,
    *,
    size: tuple[int, int] = (112, 112),
    box: Box = FACE,
    colour: Colour = "GRAY",
) -> Faces:
    """Read all images into memory, ordered by person; `names` are the people, in natural order.

    Parameters
    ----------
    path : the archive, or the folder of an unpacked one; default: `archive`
    size : height and width in pixels
    box : the part of the 250 x 250 image to crop to
    colour : ``"GRAY"`` or ``"RGB"``

    Raises
    ------
    DataError : there is no archive (the message says how to get it), or an image cannot be decoded,
        is not named as in LFW, or exists twice
    """
    path = path or archive()
    if path is None:
        raise DataError(HOW_TO_GET)
    # Keyed by person and number, as pair files name images, whatever the folders in the archive.
    pixels_of: dict[tuple[str, int], NDArray[np.uint8]] = {}
    for name, content in _contents(path):
        named = lfw_lists.image(name)  # person and number
        if named is None:
            raise DataError(f"{path}: {name} is not named as LFW's images are, Name_0001.jpg")
        key = named[0], int(named[1])
        if key in pixels_of:
            raise DataError(
                f"{path} contains {named[0]}_{named[1]}.jpg twice: it may contain two versions of "
                f"LFW; choose one"
            )
        pixels = decode(content, f"{path}, {name}", colour=colour)
        pixels_of[key] = resize(crop(pixels, box), *size)
    if not pixels_of:
        raise DataError(f"{path} contains no images")
    # Natural order, so that rows are the same for an archive in any order.
    keys = sorted(pixels_of, key=lambda key: natural(f"{key[0]}/{key[0]}_{key[1]:04d}.jpg"))
    people = sorted({person for person, _ in keys}, key=natural)
    label = {person: k for k, person in enumerate(people)}
    labels = np.array([label[person] for person, _ in keys])
    return Faces(
        np.stack([pixels_of[key] for key in keys]), labels, people, [number for _, number in keys]
    )


class Files(Protocol):
    """Rows that each belong to a file of LFW: its images, or features of them."""

    @property
    def files(self) -> Sequence[str]:
        """The file of each row, ``Name/Name_0001.jpg``."""


class Labels(Protocol):
    """Rows that each belong to a person."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The person of each row."""


def pairs(
    faces: Files, view: Literal["2", "1-train", "1-test"] = "2", path: Path | None = None
) -> Pairs:
    """The pairs of a view, as rows of `faces`.

    Parameters
    ----------
    faces : as `images` gives them, or features of them
    view : ``"2"`` for the ten folds of published accuracies, ``"1-train"`` and ``"1-test"`` for
        choosing settings
    path : the pair file, or an archive that contains it; default: the view's file in the data
        folders

    Raises
    ------
    DataError : the file is missing, or names an image that is not in `faces`
    """
    path = path or pair_file(view)
    if path is None:
        raise DataError(f"{VIEWS[view][0]} is missing (looked in {paths.searched()}). {HOW_TO_GET}")
    pair_list = lfw_lists.lfw(path, _pairs_inside(path, view))
    # Translate the pair list's own numbering of names to rows of `faces`.
    rows = {file: row for row, file in enumerate(faces.files)}
    for name in pair_list.names:
        if name not in rows:
            raise DataError(f"{path} names {name}, which is not among the images")
    row = np.array([rows[name] for name in pair_list.names])
    pairs = pair_list.pairs
    return pairs._replace(first=row[pairs.first], second=row[pairs.second])


def people_in(faces: Labels, protocol: Pairs, fold: int) -> NDArray[np.int64]:
    """The identities in the pairs of a fold."""
    chosen = protocol.fold == fold
    return np.unique(
        faces.labels[np.concatenate([protocol.first[chosen], protocol.second[chosen]])]
    )


def training_part(faces: ArraySet, protocol: Pairs, *folds: int) -> Subset:
    """The people to train on when `folds` are the test set: all who are in none of their pairs."""
    if not folds or not set(folds) <= set(protocol.fold.tolist()):
        raise ValueError(
            f"folds must be one or more of {sorted(set(protocol.fold.tolist()))}, got {folds}"
        )
    # Leave out people, not images: nobody tested may be trained on.
    return without(faces, np.concatenate([people_in(faces, protocol, fold) for fold in folds]))


def people_left_out(pack: Path | str, *folds: int) -> NDArray[np.int64]:
    """The identities of the pack ``lfw_112`` that are in the pairs of some folds.

    Leave them out of training with `cdmllab.data.sets.without`.

    Raises
    ------
    DataError : the pack's ``folds.json`` is missing or has no such fold
    """
    path = Path(pack) / FOLDS
    if not path.is_file():
        raise DataError(f"{path} does not exist: `{_ENTRY.command}` creates it")
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
    sha = hashlib.sha256()
    for file in sorted(_files(place)):  # `rglob` has no fixed order
        sha.update(f"{file.relative_to(place).as_posix()} {file.stat().st_size}\n".encode())
        sha.update(file.read_bytes())
    return sha.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """The images below a folder, at any depth."""
    for file in folder.rglob("*.[jJ][pP]*[gG]"):  # jpg, jpeg, in any case
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


def _pairs_inside(place: Path, view: str) -> bytes | None:
    """The content of a view's pair file in a zip; None if `place` is no zip or does not have it."""
    if place.suffix != ".zip":
        return None
    # Mirrors put the file into various folders, so only its name counts.
    file_names = [Path(name).name for name in VIEWS[view]]
    matching = members(place, lambda name: Path(name).name in file_names and not is_clutter(name))
    return next((content for _, content in matching), None)
