"""Which photos a folder holds, and of whom: folders are people, unless they are not."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cdmllab.data.folders import below
from cdmllab.data.walk import SUFFIXES, LeftOut, summary, walk
from cdmllab.errors import CdmlLabError, DataError

MOST = 3000
"""Photos that are compared at one time: of 3,000 there are 4.5 million pairs, a few hundred MB."""


class Photo(NamedTuple):
    """A file."""

    path: Path
    name: str  # below the folder, printable
    person: int  # row of the people; -1 where nobody says who is shown


class Photos(NamedTuple):
    """The photos of a folder, in natural order."""

    root: Path
    people: tuple[str, ...]  # names of folders; empty where photos are grouped by likeness
    photos: tuple[Photo, ...]
    left_out: tuple[LeftOut, ...]


def photos_in(root: Path, *, people: bool = True, ignore: Iterable[str] = ()) -> Photos:
    """The photos below a folder: one folder a person, or, where it has no folders with images,
    photos of nobody known.

    Parameters
    ----------
    people : False where folders are not people but events or years
    ignore : patterns of files and folders to leave out, see `cdmllab.data.walk.walk`

    Raises
    ------
    DataError : no folder, or no images below it; the sentence says what is there instead
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder")
    folders, left_out = walk(root, ignore, loose=True)
    inside = [folder for folder in folders if folder.path != root]
    if people and inside:
        folders, left_out = walk(root, ignore)  # what lies loose next to people is reported
    if not folders:
        instead = "".join(f"; left out {line}" for line in summary(left_out)[:1])
        raise DataError(f"{root} holds no images ({', '.join(SUFFIXES)}){instead}")
    known = people and bool(inside)
    listed = [
        Photo(file, below(file, root), person if known else -1)
        for person, folder in enumerate(folders)
        for file in folder.images
    ]
    names = tuple(below(folder.path, root) for folder in folders) if known else ()
    return Photos(root, names, tuple(listed), tuple(left_out))


def sampled(source: Photos, most: int, seed: int = 0) -> Photos:
    """At most so many photos: whole people drawn at random where people are known, else photos.

    Raises
    ------
    CdmlLabError : the first person drawn has more photos than that
    """
    rng = np.random.default_rng(seed)
    if len(source.photos) <= most:
        return source
    if not source.people:
        rows = np.sort(rng.permutation(len(source.photos))[:most])
        return source._replace(photos=tuple(source.photos[row] for row in rows))
    counts = np.bincount([photo.person for photo in source.photos])
    order = rng.permutation(len(counts))
    taken = sorted(order[np.cumsum(counts[order]) <= most].tolist())
    if not taken:
        raise CdmlLabError(
            f"{source.people[order[0]]} alone has {counts[order[0]]:,} photos, more than the "
            f"{most:,} that are asked for"
        )
    row = {person: k for k, person in enumerate(taken)}
    return source._replace(
        people=tuple(source.people[person] for person in taken),
        photos=tuple(
            photo._replace(person=row[photo.person])
            for photo in source.photos
            if photo.person in row
        ),
    )


def refuse_inside(target: Path, root: Path) -> None:
    """See that results do not go among the photos, where the next run would read them.

    Raises
    ------
    CdmlLabError : `target` is `root` or inside it
    """
    if target.resolve().is_relative_to(root.resolve()):
        raise CdmlLabError(f"{target} lies among the photos; name a folder elsewhere")


def refuse_content(target: Path, purpose: str) -> None:
    """See that results go into a new or empty folder.

    Raises
    ------
    CdmlLabError : `target` is a file, or a folder with content
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CdmlLabError(f"{target} is not empty; name a new folder for {purpose}")


def refuse_too_many(source: Photos, most: int = MOST) -> None:
    """See that all pairs of the photos fit into memory.

    Raises
    ------
    CdmlLabError : they may not; the sentence says what to do
    """
    count = len(source.photos)
    if count > most:
        raise CdmlLabError(
            f"{source.root} holds {count:,} photos, and every pair of them would be compared: "
            f"more than {most:,} do not fit into memory; name a smaller folder, or draw some of "
            f"{'the people' if source.people else 'them'} with --sample {most}"
        )
