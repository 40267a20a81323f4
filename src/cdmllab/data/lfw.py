"""Labeled Faces in the Wild: pictures from the archive, View 2, and folds that share no people with training.

Found in the data folders (`cdmllab.data.roots`): ``lfw/lfwa.tar.gz``, LFW-a, grey and aligned (Wolf, Hassner and
Taigman), or ``lfw/lfw-deepfunneled.tgz``, ``lfw-funneled.tgz``, ``lfw.tgz``, in colour; and ``lfw/pairs.txt``.
"""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cdmllab.data import pair_lists, roots
from cdmllab.data.archives import members
from cdmllab.data.crop import Box, Square, crop, part_of, resize
from cdmllab.data.decode import Colour, decode
from cdmllab.data.folders import natural
from cdmllab.data.pairs import Pairs
from cdmllab.data.sets import ArraySet, Subset, occurrence, without
from cdmllab.errors import DataError

ARCHIVES = ("lfw/lfwa.tar.gz", "lfw/lfw-deepfunneled.tgz", "lfw/lfw-funneled.tgz", "lfw/lfw.tgz")
VIEWS = {"2": "lfw/pairs.txt", "1-train": "lfw/pairsDevTrain.txt", "1-test": "lfw/pairsDevTest.txt"}
# The square of the 250 x 250 picture that puts eyes and mouth of LFW-a's mean face where the 112 template wants them.
FACE = Box(58, 50, 192, 184)
FOLDS = "folds.json"  # beside the pack that `data_scripts/lfw.py` makes
HOW = (
    "LFW is not there: put lfwa.tar.gz (or lfw-deepfunneled.tgz, lfw-funneled.tgz, lfw.tgz) and pairs.txt into lfw/ "
    f"of a data folder (${roots.VARIABLE}, or data/); `python data_scripts/lfw.py --dry-run` says where to get them"
)


def box(square: Square) -> Box:
    """The pixels of LFW-a's 250 x 250 that show a part of an aligned face, see `crop.part_of`."""
    return part_of(FACE, square)


def archive() -> Path | None:
    """The archive of pictures, if it is there."""
    return roots.find(*ARCHIVES)


def available() -> bool:
    """Whether pictures and View 2 are there."""
    return archive() is not None and roots.find(VIEWS["2"]) is not None


def missing() -> str:
    """How to get them, in a sentence; empty when they are there."""
    return "" if available() else HOW


def pictures(
    path: Path | None = None, *, size: tuple[int, int] = (112, 112), box: Box = FACE, colour: Colour = "GRAY"
) -> ArraySet:
    """All pictures in memory, people in alphabetical order: `names` are theirs, rows are ordered by person.

    Parameters
    ----------
    path : the archive; default: the first found
    size : height and width in pixels
    box : the part of the 250 x 250 picture that is shown
    colour : ``"GRAY"`` or ``"RGB"``

    Raises
    ------
    DataError : there is no archive (how to get it is told), or a picture cannot be decoded
    """
    path = path or archive()
    if path is None:
        raise DataError(HOW)
    found = []
    for name, content in members(path, lambda name: name.endswith(".jpg")):
        pixels = decode(content, f"{path}, {name}", colour=colour)
        found.append((_short(name), resize(crop(pixels, box), *size)))
    if not found:
        raise DataError(f"{path} holds no pictures")
    found.sort(key=lambda item: natural(item[0]))
    people = sorted({file.split("/")[0] for file, _ in found}, key=natural)
    label = {person: k for k, person in enumerate(people)}
    labels = np.array([label[file.split("/")[0]] for file, _ in found])
    return ArraySet(np.stack([pixels for _, pixels in found]), labels, len(people), people)


class People(Protocol):
    """Rows that show people in the order of `pictures`: its images, or what was made of them."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The person of each row, rising."""

    @property
    def names(self) -> Sequence[str]:
        """Of the people, by label."""

    @property
    def num_identities(self) -> int:
        """How many people there are."""


def files(faces: People) -> list[str]:
    """The file of each row, ``Name/Name_0001.jpg``; LFW numbers a person's images without gaps."""
    numbers = occurrence(faces.labels) + 1
    people = [faces.names[label] for label in faces.labels]
    return [f"{person}/{person}_{number:04d}.jpg" for person, number in zip(people, numbers, strict=True)]


def pairs(faces: People, view: Literal["2", "1-train", "1-test"] = "2", path: Path | None = None) -> Pairs:
    """A view's pairs as rows of `faces`.

    Parameters
    ----------
    faces : as `pictures` gives them, or features of them
    view : ``"2"`` for the ten folds that are reported, ``"1-train"`` and ``"1-test"`` for choosing settings
    path : the pair file; default: the view's own in the data folders

    Raises
    ------
    DataError : the file is missing, or names a picture that is not there
    """
    path = path or roots.find(VIEWS[view])
    if path is None:
        raise DataError(HOW)
    listed = pair_lists.lfw(path)
    start = np.searchsorted(faces.labels, np.arange(faces.num_identities + 1))
    label = {person: k for k, person in enumerate(faces.names)}
    rows = []
    for name in listed.names:
        person, file = name.split("/")
        k, number = label.get(person), int(file.removesuffix(".jpg").rsplit("_", 1)[1])
        if k is None or not 1 <= number <= start[k + 1] - start[k]:
            raise DataError(f"{path} names {name}, which is not among the pictures")
        rows.append(start[k] + number - 1)
    row = np.array(rows)
    return listed.pairs._replace(first=row[listed.pairs.first], second=row[listed.pairs.second])


def people_in(faces: People, protocol: Pairs, fold: int) -> NDArray[np.int64]:
    """The identities that a fold's pairs show."""
    chosen = protocol.fold == fold
    return np.unique(faces.labels[np.concatenate([protocol.first[chosen], protocol.second[chosen]])])


def training_part(faces: ArraySet, protocol: Pairs, *folds: int) -> Subset:
    """What may be trained on when `folds` are tested: everybody that none of their pairs shows."""
    if not folds or not set(folds) <= set(protocol.fold.tolist()):
        raise ValueError(f"folds must be some of {sorted(set(protocol.fold.tolist()))}, got {folds}")
    return without(faces, np.concatenate([people_in(faces, protocol, fold) for fold in folds]))


def people_left_out(pack: Path | str, *folds: int) -> NDArray[np.int64]:
    """The identities of the pack ``lfw_112`` that the pairs of some folds show; see `cdmllab.data.sets.without`.

    Raises
    ------
    DataError : the pack's ``folds.json`` is missing or has no such fold
    """
    path = Path(pack) / FOLDS
    try:
        told = json.loads(path.read_text(encoding="utf-8"))["identities_in_pairs"]
        return np.unique(np.concatenate([np.array(told[str(fold)], dtype=np.int64) for fold in folds]))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: `python data_scripts/lfw.py` makes it") from None
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path} does not tell the people of the folds {folds} ({error!r})") from None


def _short(name: str) -> str:
    """``lfw/Name/Name_0001.jpg`` without what stands before the person."""
    return "/".join(PurePosixPath(name).parts[-2:])
