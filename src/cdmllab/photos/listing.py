"""The photos in a folder and their people: each subfolder is a person, unless disabled."""

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
    """A photo's file."""

    path: Path
    name: str  # below the folder, printable
    person: int  # row of the people; -1 if unknown


class Photos(NamedTuple):
    """The photos of a folder, in natural order."""

    root: Path
    people: tuple[str, ...]  # names of folders; empty if photos are grouped by similarity
    photos: tuple[Photo, ...]
    left_out: tuple[LeftOut, ...]


def photos_in(root: Path, *, people: bool = True, ignore: Iterable[str] = ()) -> Photos:
    """The photos below a folder, with a folder per person.

    Without folders of images, or with `people` False, the people are unknown.

    Parameters
    ----------
    people : False if folders are not people but, for example, events or years
    ignore : patterns of files and folders to skip, see `cdmllab.data.walk.walk`

    Raises
    ------
    DataError : no folder, or no images below it; describes its contents instead
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    # First with loose images, which count only if there are no folders of people.
    folders, left_out = walk(root, ignore, loose=True)
    inside = [folder for folder in folders if folder.path != root]
    if people and inside:
        folders, left_out = walk(root, ignore)  # loose files next to people are reported
    if not folders:
        instead = "".join(f"; skipped {line}" for line in summary(left_out)[:1])
        raise DataError(f"{root} contains no images ({', '.join(SUFFIXES)}){instead}")
    known = people and bool(inside)
    listed = [
        Photo(file, below(file, root), person if known else -1)
        for person, folder in enumerate(folders)
        for file in folder.images
    ]
    names = tuple(below(folder.path, root) for folder in folders) if known else ()
    return Photos(root, names, tuple(listed), tuple(left_out))


def sampled(source: Photos, most: int, seed: int = 0) -> Photos:
    """A random sample of photos: people with all their photos if known, otherwise single photos.

    Raises
    ------
    CdmlLabError : the first person drawn has more photos than the sample may have
    """
    rng = np.random.default_rng(seed)
    if len(source.photos) <= most:
        return source
    if not source.people:
        rows = np.sort(rng.permutation(len(source.photos))[:most])
        return source._replace(photos=tuple(source.photos[row] for row in rows))
    counts = np.bincount([photo.person for photo in source.photos])
    order = rng.permutation(len(counts))
    # People in random order, up to the first whose photos would not fit any more.
    taken = sorted(order[np.cumsum(counts[order]) <= most].tolist())
    if not taken:
        raise CdmlLabError(
            f"{source.people[order[0]]} alone has {counts[order[0]]:,} photos, more than the "
            f"{most:,} of --sample"
        )
    row = {person: k for k, person in enumerate(taken)}  # the remaining people, renumbered from 0
    return source._replace(
        people=tuple(source.people[person] for person in taken),
        photos=tuple(
            photo._replace(person=row[photo.person])
            for photo in source.photos
            if photo.person in row
        ),
    )


def refuse_inside(target: Path, root: Path) -> None:
    """Refuse to write results among the photos, where the next run would read them.

    Raises
    ------
    CdmlLabError : `target` is `root` or inside it
    """
    if target.resolve().is_relative_to(root.resolve()):
        raise CdmlLabError(f"{target} is inside the folder of photos; name a folder elsewhere")


def refuse_content(target: Path, purpose: str) -> None:
    """Refuse to write results into a folder with content.

    Raises
    ------
    CdmlLabError : `target` is a file, or a folder that is not empty
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CdmlLabError(f"{target} is not empty; name a new folder for {purpose}")


def refuse_too_many(source: Photos, most: int = MOST) -> None:
    """Refuse more photos than fit into memory as a table of all pairs.

    Raises
    ------
    CdmlLabError : there are too many; suggests what to do
    """
    count = len(source.photos)
    if count > most:
        raise CdmlLabError(
            f"{source.root} contains {count:,} photos, and every pair of them would be compared: "
            f"more than {most:,} do not fit into memory; name a smaller folder, or draw some of "
            f"{'the people' if source.people else 'them'} with --sample {most}"
        )
