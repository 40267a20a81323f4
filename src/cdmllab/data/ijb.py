"""IJB-B and IJB-C: the meta files and the images of their templates."""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab._util import files
from cdmllab.data.align import align
from cdmllab.data.crop import Square
from cdmllab.data.decode import decode, stored
from cdmllab.data.listed import LARGEST, refuse_outside
from cdmllab.data.pairs import Pairs
from cdmllab.errors import DataError, reader

LANDMARK_COLUMNS = 11  # x1 y1 ... x5 y5 score


class Media(NamedTuple):
    """``ijbX_face_tid_mid.txt``: the template and the medium (photo or video) of each image."""

    names: tuple[str, ...]  # [n]
    template: NDArray[np.int64]  # [n] template number as in the file
    media: NDArray[np.int64]  # [n]


class Landmarks(NamedTuple):
    """``ijbX_name_5pts_score.txt``: landmarks in each loose crop, and the detector's score."""

    names: tuple[str, ...]  # [n]
    points: NDArray[np.float64]  # [n, 5, 2]
    detector_score: NDArray[np.float64]  # [n]


class TemplateSet(NamedTuple):
    """A template protocol: n images in t templates, and pairs of templates."""

    root: Path
    names: tuple[str, ...]  # [n] files in loose_crop
    points: NDArray[np.float64]  # [n, 5, 2]
    detector_score: NDArray[np.float64]  # [n]
    template: NDArray[np.int64]  # [n] row of the image's template, 0 .. t - 1
    media: NDArray[np.int64]  # [n]
    template_ids: NDArray[np.int64]  # [t] the number of each template row in the files
    pairs: Pairs  # over template rows, one fold

    def __len__(self) -> int:
        return len(self.names)

    def read(
        self, rows: ArrayLike, size: int = 112, square: Square | None = None
    ) -> NDArray[np.uint8]:
        """The aligned faces of some images, uint8 of shape (rows, size, size, 3).

        With `square`, a part of each, see `cdmllab.data.align.template`.

        Raises
        ------
        DataError : an image is missing or cannot be decoded
        """
        chosen = np.atleast_1d(np.asarray(rows, dtype=np.int64)).tolist()
        out = np.empty((len(chosen), size, size, 3), dtype=np.uint8)
        for k, row in enumerate(chosen):
            file = self.root / "loose_crop" / self.names[row]
            if not file.is_file():
                raise DataError(
                    f"{file} is missing, it is image {row} of template {self.template[row]}"
                )
            out[k] = align(decode(stored(file), str(file)), self.points[row], size, square)
        return out


def load(root: Path | str, name: str) -> TemplateSet:
    """Read ``meta/`` of IJB-B or IJB-C.

    Parameters
    ----------
    root : the folder with ``meta`` and ``loose_crop``
    name : ``"ijbb"`` or ``"ijbc"``

    Raises
    ------
    DataError : a file is missing or malformed, or they do not match
    """
    if name not in ("ijbb", "ijbc"):
        raise ValueError(f"name must be 'ijbb' or 'ijbc', got {name!r}")
    meta = Path(root) / "meta"
    media = read_media(meta / f"{name}_face_tid_mid.txt")
    marks = read_landmarks(meta / f"{name}_name_5pts_score.txt")
    first, second, same = read_pairs(meta / f"{name}_template_pair_label.txt")
    # Both lists must have the same images in the same order, since they are joined row by row.
    if media.names != marks.names:
        row = next(
            (
                k
                for k, pair in enumerate(zip(media.names, marks.names, strict=False))
                if len(set(pair)) > 1
            ),
            -1,
        )
        raise DataError(
            f"{meta}: the lists of media ({len(media.names):,} rows) and of landmarks "
            f"({len(marks.names):,}) differ, "
            f"first in row {row + 1 if row >= 0 else min(len(media.names), len(marks.names)) + 1}"
        )
    # Renumber the templates 0 to t - 1; translate both columns of the pairs by bisection.
    ids, rows = np.unique(media.template, return_inverse=True)
    ends = []
    for column in (first, second):
        at = np.minimum(np.searchsorted(ids, column), len(ids) - 1)
        strange = np.flatnonzero(ids[at] != column)
        if len(strange):
            raise DataError(
                f"{meta}: pair {strange[0]} names template {column[strange[0]]}, which has no image"
            )
        ends.append(at.astype(np.int64))
    pairs = Pairs(ends[0], ends[1], same, np.zeros(len(same), dtype=np.int64))
    return TemplateSet(
        Path(root),
        media.names,
        marks.points,
        marks.detector_score,
        rows.astype(np.int64),
        media.media,
        ids,
        pairs,
    )


@reader("a readable list of media")
def read_media(path: Path) -> Media:
    """Rows ``name template medium``.

    Raises
    ------
    DataError : a malformed row
    """
    names, numbers = _named_rows(path, 2)
    # Read as float64, which has every whole number below 2^53 exactly.
    odd = np.flatnonzero(
        (np.abs(numbers) >= 2**53).any(axis=1) | (numbers != np.round(numbers)).any(axis=1)
    )
    if len(odd):
        raise DataError(
            f"{path}, row {odd[0] + 1}: the numbers of a template and of a medium are whole"
        )
    return Media(names, numbers[:, 0].astype(np.int64), numbers[:, 1].astype(np.int64))


@reader("a readable list of landmarks")
def read_landmarks(path: Path) -> Landmarks:
    """Rows ``name x1 y1 ... x5 y5 score``.

    Raises
    ------
    DataError : a malformed row, or one whose points all coincide
    """
    names, numbers = _named_rows(path, LANDMARK_COLUMNS)
    points = numbers[:, :10].reshape(-1, 5, 2)
    # Identical points have no scale to align by; the limit is in pixels.
    together = np.flatnonzero(np.ptp(points, axis=1).max(axis=1) < 1e-6)
    if len(together):
        raise DataError(
            f"{path}, row {together[0] + 1}: the landmarks of {names[together[0]]} all coincide"
        )
    return Landmarks(names, points, numbers[:, 10])


@reader("a readable list of pairs")
def read_pairs(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Rows ``template template label``: two template numbers, and whether they are one person.

    Raises
    ------
    DataError : a malformed row
    """
    _present(path)
    try:
        with (
            files.opened(path, at_most=LARGEST) as stream,
            warnings.catch_warnings(action="ignore"),  # of a file with blank lines only
        ):
            table = np.loadtxt(stream, dtype=np.int64, comments=None, ndmin=2)  # [p, 3]
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}: expected three whole numbers per row ({error})") from error
    if table.size == 0:
        raise DataError(f"{path} is empty")
    if table.shape[1] != 3:
        raise DataError(f"{path}: expected three whole numbers per row, got {table.shape[1]}")
    odd = np.flatnonzero((table[:, 2] != 0) & (table[:, 2] != 1))
    if len(odd):
        raise DataError(
            f"{path}, row {odd[0] + 1}: the label must be 0 or 1, it is {table[odd[0], 2]}"
        )
    return table[:, 0].copy(), table[:, 1].copy(), table[:, 2] == 1


def _named_rows(path: Path, columns: int) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    _present(path)
    text = files.read_text(path, "a readable list", at_most=LARGEST)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty")
    names = []
    # Check the number of fields first, so that the error names the row and its fields.
    for k, line in enumerate(lines):
        fields = line.split()
        if len(fields) != columns + 1:
            raise DataError(
                f"{path}, row {k + 1}: expected a name and {columns} numbers, got "
                f"{len(fields)} fields"
            )
        names.append(fields[0])
    try:
        # IJB-C has half a million rows: NumPy's parser takes a second for what Python needs ten.
        numbers = np.loadtxt(lines, comments=None, usecols=range(1, columns + 1), ndmin=2)
    except ValueError as error:
        raise DataError(
            f"{path}: expected a name and {columns} numbers per row ({error})"
        ) from None
    bad = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if len(bad):
        raise DataError(f"{path}, row {bad[0] + 1}: a number is not finite")
    # A name with ".." could make `read` open a file outside of `loose_crop`.
    for name in names:
        refuse_outside(name, path)
    return tuple(names), numbers


def _present(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty")
