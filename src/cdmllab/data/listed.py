"""Lists of pairs of image names, and helpers that all their readers share."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from cdmllab._util import files
from cdmllab.data.pairs import Pairs
from cdmllab.errors import DataError, plain

LARGEST = 2 << 30  # bytes of a list; that of IJB-C's pairs has 300 million
_LONGEST = 1000  # characters of a name
_PLAIN = re.compile(r"\w[\w-]{0,200}(\.\w{1,10})?", re.ASCII)  # a file name that leads nowhere


class PairList(NamedTuple):
    """Pairs of image files, which are not read yet."""

    names: tuple[str, ...]  # [n] unique paths below the data set's folder
    pairs: Pairs
    source: Path

    def files_below(self, root: Path | str) -> list[Path]:
        """The paths of `names` below a folder, in the same order.

        Raises
        ------
        DataError : a file is missing; the message names the first pair that contains it
        """
        files = [Path(root) / name for name in self.names]
        for k, file in enumerate(files):
            if not file.is_file():
                pair = int(np.flatnonzero((self.pairs.first == k) | (self.pairs.second == k))[0])
                missing = sum(not other.is_file() for other in files)
                raise DataError(
                    f"{self.source}, pair {pair}: {file} is missing ({missing:,} of "
                    f"{len(files):,} are)"
                )
        return files


class Pair(NamedTuple):
    """One pair, by the names of its images."""

    first: str
    second: str
    same: bool
    fold: int


def pair_list(pairs: Sequence[Pair], path: Path) -> PairList:
    """Build a list from pairs by name; every image gets one number.

    Raises
    ------
    DataError : there are no pairs, or a name leads out of the folder
    """
    if not pairs:
        raise DataError(f"{path} contains no pairs")
    for pair in pairs:
        for name in (pair.first, pair.second):
            refuse_outside(name, path)
    position: dict[str, int] = {}  # number of each image, in the order of first appearance
    rows = [
        (position.setdefault(p.first, len(position)), position.setdefault(p.second, len(position)))
        for p in pairs
    ]
    first, second = np.array(rows, dtype=np.int64).T  # [n, 2] to [2, n]
    same = np.array([pair.same for pair in pairs])
    fold = np.array([pair.fold for pair in pairs], dtype=np.int64)
    return PairList(tuple(position), Pairs(first, second, same, fold), path)


def by_fold(pairs: Sequence[Pair], path: Path) -> Sequence[Pair]:
    """Sort pairs by fold, the genuine ones of a fold first; folds may differ in size.

    Raises
    ------
    DataError : a fold has no pairs
    """
    used = {pair.fold for pair in pairs}
    folds = max(used, default=-1) + 1
    if len(used) != folds:
        gap = next(fold for fold in itertools.count() if fold not in used)
        raise DataError(f"{path}: fold {gap + 1} of {folds:,} has no pairs")
    return sorted(pairs, key=lambda pair: (pair.fold, not pair.same))


def lines(path: Path | str, content: bytes | None = None) -> list[str]:
    """The non-blank lines of a text file, stripped; or of `content` if given.

    Raises
    ------
    DataError : it does not exist, is empty, or is not text
    """
    data = (
        files.read_bytes(path, "a readable list", at_most=LARGEST) if content is None else content
    )
    try:
        text = data.decode("utf-8-sig")  # without a byte-order mark
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text ({error.reason} at byte {error.start})") from None
    rows = [line.strip() for line in text.splitlines() if line.strip()]
    if not rows:
        raise DataError(f"{path} is empty")
    return rows


def is_number(field: str) -> bool:
    """Whether a field is a number of at most eight digits 0 to 9.

    Other digits of Unicode, such as superscripts, do not count.
    """
    return field.isascii() and field.isdecimal() and len(field) < 9


def refuse_outside(name: str, path: Path) -> None:
    """Reject a name that leads out of the data set's folder: lists are downloaded, so untrusted.

    Raises
    ------
    DataError : the name is absolute, empty, too long, or leads upwards
    """
    if _PLAIN.fullmatch(name):  # nearly all names, of which a list may have a million
        return
    empty = not PurePosixPath(name.replace("\\", "/")).parts
    if (
        empty
        or files.leads_outside(name)
        or len(name) > _LONGEST
        or any(ord(character) < 32 for character in name)
    ):
        raise DataError(
            f"{path} names {plain(name, 80)!r}, which is not an image below the data set's folder"
        )
