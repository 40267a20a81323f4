"""Walk a folder of people: find the images, and record what is left out and why.

Tools that follow every link and take every folder make people of thumbnails, and many of one when a
link leads back up. Here nothing is followed, nothing is read that programs left lying about, and
everything left out has a reason.
"""

import os
import re
from collections.abc import Iterable
from fnmatch import translate
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cdmllab._util.files import printable

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".webp", ".gif"),
    *(".avif", ".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".pbm", ".pgm", ".ppm", ".pnm"),
)
"""Extensions of files that are read, in any case: those of `cdmllab.data.decode.FORMATS`."""

NOT_READ = (
    *(
        ".heic",
        ".heif",
        ".hif",
        ".jxl",
        ".jxr",
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".raf",
        ".orf",
    ),
    *(
        ".rw2",
        ".raw",
        ".psd",
        ".xcf",
        ".tga",
        ".pcx",
        ".ico",
        ".svg",
        ".eps",
        ".exr",
        ".hdr",
        ".pfm",
    ),
)
"""Extensions of images that are not read: a person with only these is missing from the data."""

IGNORED = (
    # hidden: .git, .thumbnails, .DS_Store, QNAP's .@__thumb, and ._1.jpg next to 1.jpg from a Mac
    ".*",
    "__MACOSX",  # the same in zip archives from a Mac
    "Thumbs.db",  # Windows
    "ehthumbs*.db",
    "desktop.ini",
    "$RECYCLE.BIN",
    "System Volume Information",
    "@eaDir",  # Synology: thumbnails named like the images
    "@tmp",
    "#recycle",
    "#snapshot",
    "@Recycle",  # QNAP
    "@Recently-Snapshot",
    "@Transcode",
    "Picasa.ini",
    "lost+found",
    "__pycache__",
)
"""Patterns, in any case, of files and folders that programs leave behind."""

LINK = "a link, not followed (`cp -rL` copies what it leads to)"
FEW = "the person has fewer images than required"
LOOSE = "an image next to the folders of people, which belongs to nobody"


class LeftOut(NamedTuple):
    """A file or folder that is not read."""

    name: str  # below the root, printable; a folder's ends in /
    why: str
    harmless: bool  # it cannot be an image of a person


class Folder(NamedTuple):
    """A folder with images."""

    path: Path
    images: list[Path]  # in natural order


def walk(
    root: Path, ignore: Iterable[str] = (), *, loose: bool = False
) -> tuple[list[Folder], list[LeftOut]]:
    """All folders with images below `root`, parents first, and what is left out.

    Links are not followed: one to a parent folder would multiply people, and one to another place
    would add files that are not part of the set. `root` itself may be a link.

    Parameters
    ----------
    ignore : shell patterns (``*``, ``?``, ``[a-z]``) in addition to `IGNORED`, for a name or a path
        below `root`, in any case
    loose : whether images directly in `root` are read too; where folders are people they belong to
        nobody

    Raises
    ------
    OSError : `root` cannot be listed
    """
    ignored = _Ignore((*IGNORED, *ignore))
    folders: list[Folder] = []
    left: list[LeftOut] = []
    # A stack of folders, path and name below the root, rather than recursion: depth is unlimited.
    waiting = [(str(root), "")]
    while waiting:
        path, below = waiting.pop()
        try:
            with os.scandir(path) as scanned:
                entries = sorted(scanned, key=lambda entry: natural(entry.name))
        except OSError as error:
            if not below:
                raise
            left.append(
                LeftOut(printable(below), f"the folder cannot be read ({error.strerror})", False)
            )
            continue
        images, inside = [], []
        for entry in entries:
            name = below + entry.name
            if entry.is_dir(follow_symlinks=False):
                name += "/"
            reason = _reason(entry, name, ignored, top=not below and not loose)
            if reason is not None:
                left.append(LeftOut(printable(name), *reason))
            elif name.endswith("/"):
                inside.append((entry.path, name))
            else:
                images.append(Path(entry.path))
        if below and not entries:
            left.append(LeftOut(printable(below), "an empty folder", False))
        if images:
            folders.append(Folder(Path(path), images))
        waiting += reversed(inside)  # the stack's top is the first folder
    return folders, left


def is_clutter(name: str) -> bool:
    """Whether a path, or a folder in it, is one of `IGNORED`, as in archives made on a Mac."""
    return any(_CLUTTER(part, part) is not None for part in PurePosixPath(name).parts)


def files_in(folder: Path, pattern: str) -> list[Path]:
    """The files below a folder that match a glob pattern, without clutter, in natural order.

    A copy made on a Mac has a ``._train.rec`` next to each ``train.rec``.
    """
    found = (file for file in folder.glob(pattern) if not is_clutter(str(file.relative_to(folder))))
    return sorted(found, key=lambda file: natural(file.as_posix()))


def summary(left: Iterable[LeftOut]) -> list[str]:
    """A line per reason, most frequent first, as ``3 (p1/a.heic, ...): .heic images ...``."""
    groups: dict[str, list[str]] = {}
    for item in left:
        groups.setdefault(item.why, []).append(item.name)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [f"{len(n):,} ({n[0]}{', ...' if len(n) > 1 else ''}): {why}" for why, n in ordered]


def natural(path: Path | str) -> tuple[tuple[int, int, str], ...]:
    """A sorting key in which 2 comes before 10."""
    # Runs of digits and runs of everything else.
    pieces = re.findall(r"[0-9]+|[^0-9]+", str(path))
    return tuple((0, int(piece), "") if piece[0].isdecimal() else (1, 0, piece) for piece in pieces)


class _Ignore:
    """All patterns as one regular expression, because there may be millions of files."""

    def __init__(self, patterns: Iterable[str]) -> None:
        # Patterns may end in a slash, as in .gitignore; names are matched without it.
        self._each = [(p, re.compile(translate(p.strip("/")), re.IGNORECASE)) for p in patterns]
        self._any = re.compile("|".join(each.pattern for _, each in self._each), re.IGNORECASE)

    def __call__(self, name: str, below: str) -> str | None:
        """The first pattern that matches a name or its path below the root."""
        # One match rejects nearly all names; the loop only finds out which pattern it was.
        if not (self._any.match(name) or self._any.match(below)):
            return None
        return next(p for p, each in self._each if each.match(name) or each.match(below))


_CLUTTER = _Ignore(IGNORED)


def _reason(
    entry: os.DirEntry[str], name: str, ignored: _Ignore, *, top: bool
) -> tuple[str, bool] | None:
    """Why an entry is left out, and whether that is harmless; None for folders and images."""
    pattern = ignored(entry.name, name.rstrip("/"))
    if pattern is not None:
        return f"ignored ({pattern})", True
    if entry.is_symlink():
        return LINK, False
    if entry.is_dir(follow_symlinks=False):
        return None
    if not entry.is_file(follow_symlinks=False):
        return "neither a file nor a folder", True
    # The extension in lower case; none for a name without a dot.
    _, dot, last = entry.name.rpartition(".")
    ending = dot + last.lower() if dot else ""
    if ending in SUFFIXES:
        return (LOOSE, False) if top else None
    if ending in NOT_READ:
        return f"{ending} images are not read", False
    return f"no image ({printable(ending) or 'no ending'})", True
