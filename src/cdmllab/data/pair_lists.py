"""The pair files of LFW, CFP, AgeDB-30, CALFW and CPLFW, read into names of pictures and `Pairs` over them."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cdmllab.data.pairs import Pairs, in_folds
from cdmllab.errors import DataError


class PairList(NamedTuple):
    """A protocol over pictures that are still files."""

    names: tuple[str, ...]  # [n] each picture once, a path below the data set's folder
    pairs: Pairs
    source: Path

    def found_below(self, root: Path | str) -> list[Path]:
        """The files of `names` below a folder, in the same order.

        Raises
        ------
        DataError : one is missing, with the pair that names it
        """
        files = [Path(root) / name for name in self.names]
        for k, file in enumerate(files):
            if not file.is_file():
                pair = int(np.flatnonzero((self.pairs.first == k) | (self.pairs.second == k))[0])
                missing = sum(not other.is_file() for other in files)
                raise DataError(f"{self.source}, pair {pair}: {file} is missing ({missing:,} of {len(files):,} are)")
        return files


class _Pair(NamedTuple):
    first: str
    second: str
    same: bool
    fold: int


def lfw(path: Path | str) -> PairList:
    """LFW's ``pairs.txt`` (View 2) and ``pairsDevTrain.txt``, ``pairsDevTest.txt`` (View 1, one fold).

    The first line counts folds and pairs, ``10<TAB>300``, or pairs only; in each fold come the genuine pairs,
    ``name n m``, then as many impostor pairs, ``name n name m``.

    Raises
    ------
    DataError : naming the line that is of another form, or a fold with too few pairs
    """
    path, lines = Path(path), _lines(path)
    header = lines[0].split()
    if not 1 <= len(header) <= 2 or not all(field.isdigit() for field in header):
        raise DataError(f"{path}, line 1: `folds pairs` is wanted, not {lines[0][:60]!r}")
    folds, per_fold = (1, int(header[0])) if len(header) == 1 else (int(header[0]), int(header[1]))
    if len(lines) - 1 != 2 * folds * per_fold:
        raise DataError(
            f"{path}: {folds} folds of {per_fold} + {per_fold} pairs are announced, {len(lines) - 1:,} lines follow"
        )
    found = []
    for k, line in enumerate(lines[1:]):
        fields, same = line.split("\t") if "\t" in line else line.split(), k // per_fold % 2 == 0
        fields = [field.strip() for field in fields]
        numbers = fields[1:3] if same else fields[1::2]
        if len(fields) != (3 if same else 4) or not all(number.isdigit() for number in numbers):
            form = "name n m" if same else "name n name m"
            raise DataError(f"{path}, line {k + 2}: `{form}` is wanted here, not {line[:80]!r}")
        second = fields[0] if same else fields[2]
        names = _lfw_name(fields[0], numbers[0]), _lfw_name(second, numbers[1])
        found.append(_Pair(*names, same, k // (2 * per_fold)))
    return _listed(found, path)


def cfp(protocol: Path | str, kind: str) -> PairList:
    """CFP's ``Protocol`` folder, frontal-frontal (``"FF"``) or frontal-profile (``"FP"``): 10 folds.

    ``Pair_list_F.txt`` and ``_P.txt`` number the pictures from 1, ``Split/FP/01/same.txt`` has lines ``i,j``;
    in FP, i is a frontal picture and j a profile.

    Raises
    ------
    DataError : a file is missing, a line is of another form, or a number is not in the list
    """
    if kind not in ("FF", "FP"):
        raise ValueError(f"kind must be 'FF' or 'FP', got {kind!r}")
    protocol = Path(protocol)
    frontal = _cfp_numbered(protocol / "Pair_list_F.txt")
    second = frontal if kind == "FF" else _cfp_numbered(protocol / "Pair_list_P.txt")
    folders = sorted(folder for folder in (protocol / "Split" / kind).glob("*") if folder.is_dir())
    if not folders:
        raise DataError(f"{protocol / 'Split' / kind} holds no folds")
    found = []
    for fold, folder in enumerate(folders):
        for file, same in ((folder / "same.txt", True), (folder / "diff.txt", False)):
            for number, line in enumerate(_lines(file), start=1):
                try:
                    i, j = (int(field) for field in line.split(","))
                    found.append(_Pair(frontal[i], second[j], same, fold))
                except (ValueError, KeyError):
                    raise DataError(
                        f"{file}, line {number}: two numbers of the picture lists are wanted, not {line[:60]!r}"
                    ) from None
    return _listed(_by_fold(found, protocol / "Split" / kind), protocol / "Split" / kind)


def agedb(path: Path | str, folder: str = "03_Protocol_Images", suffix: str = ".jpg") -> PairList:
    """AgeDB's ``04_FINAL_protocol_30_years.mat``: its ``splits``, a cell of 10 folds of 2 x 600 pictures.

    A pair is genuine when both names begin with the same person, up to the first underscore.

    Parameters
    ----------
    folder, suffix : put before and after the names in the file

    Raises
    ------
    DataError : no MATLAB file, or one of another form
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    try:
        splits = loadmat(path)["splits"]
        found = []
        for fold in range(splits.shape[0]):
            pictures = _innermost(splits[fold, 0], 2)
            for k in range(pictures.shape[1]):
                names = [str(_innermost(pictures[row, k], 1)[0]) for row in range(2)]
                first, second = (f"{folder}/{name}{suffix}" for name in names)
                found.append(_Pair(first, second, names[0].split("_")[0] == names[1].split("_")[0], fold))
    except (KeyError, IndexError, ValueError, TypeError, MatReadError, NotImplementedError, OSError) as error:
        raise DataError(f"{path} is no protocol file of AgeDB ({type(error).__name__}: {error})") from error
    return _listed(_by_fold(found, path), path)


def calfw(path: Path | str, folder: str = "") -> PairList:
    """CALFW's and CPLFW's lists: two lines ``picture token`` a pair; token 0 is an impostor pair.

    In CALFW the token of a genuine pair is its fold, 1 to 10; the impostor pairs, and all pairs where the tokens
    are only 0 and 1 (CPLFW), are in the ten folds in the order of the file, see `cdmllab.data.pairs.in_folds`.

    Parameters
    ----------
    folder : put before the names in the file, for instance ``aligned images``

    Raises
    ------
    DataError : a line of another form, tokens that differ within a pair, or fewer pairs of a kind than folds
    """
    path, lines = Path(path), _lines(path)
    if len(lines) % 2:
        raise DataError(f"{path}: {len(lines):,} lines are no whole number of pairs, a pair has two")
    rows = [line.rsplit(None, 1) for line in lines]
    found, counts = [], [0, 0]
    for k in range(0, len(rows), 2):
        (first, token), (second, other) = _two(rows[k], path, k), _two(rows[k + 1], path, k + 1)
        if token != other:
            raise DataError(f"{path}, lines {k + 1} and {k + 2}: a pair has one token, here are {token} and {other}")
        found.append((first, second, token))
        counts[token > 0] += 1
    with_folds = max(token for _, _, token in found) > 1
    try:
        folds = [in_folds(counts[same], 10) if not (same and with_folds) else None for same in (False, True)]
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    seen, pairs = [0, 0], []
    for first, second, token in found:
        same = token > 0
        dealt = folds[same]
        fold = token - 1 if dealt is None else int(dealt[seen[same]])
        seen[same] += 1
        prefix = f"{folder}/" if folder else ""
        pairs.append(_Pair(prefix + first, prefix + second, same, fold))
    return _listed(_by_fold(pairs, path), path)


def _lfw_name(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}.jpg"


def _cfp_numbered(path: Path) -> dict[int, str]:
    names = {}
    for number, line in enumerate(_lines(path), start=1):
        fields = line.split(None, 1)
        if len(fields) != 2 or not fields[0].isdigit():
            raise DataError(f"{path}, line {number}: `number path` is wanted, not {line[:60]!r}")
        names[int(fields[0])] = fields[1].strip().removeprefix("../")
    return names


def _two(fields: Sequence[str], path: Path, row: int) -> tuple[str, int]:
    if len(fields) != 2 or not fields[1].isdigit():
        raise DataError(f"{path}, line {row + 1}: `picture token` is wanted, not {' '.join(fields)[:60]!r}")
    return fields[0], int(fields[1])


def _innermost(cell: Any, ndim: int) -> Any:
    """Unwrap MATLAB's cells and structs of one element until an array with content is reached."""
    inner = cell
    for _ in range(8):
        if inner.dtype.names:
            inner = inner[inner.dtype.names[0]]
        if inner.dtype != object or inner.size != 1:
            break
        inner = inner.reshape(-1)[0]
    if inner.ndim != ndim or inner.size == 0:
        raise ValueError(f"an array of {ndim} dimensions is wanted, this one has shape {inner.shape}")
    return inner


def _by_fold(found: Sequence[_Pair], path: Path) -> Sequence[_Pair]:
    """The pairs fold by fold, the genuine ones of a fold first; folds may differ in size.

    Raises
    ------
    DataError : a fold without a pair
    """
    there = {pair.fold for pair in found}
    folds = max(there) + 1
    if len(there) != folds:
        gap = next(fold for fold in itertools.count() if fold not in there)
        raise DataError(f"{path}: fold {gap + 1} of {folds:,} has no pairs")
    return sorted(found, key=lambda pair: (pair.fold, not pair.same))


def _listed(found: Sequence[_Pair], path: Path) -> PairList:
    position: dict[str, int] = {}
    rows = [(position.setdefault(p.first, len(position)), position.setdefault(p.second, len(position))) for p in found]
    first, second = np.array(rows, dtype=np.int64).T
    same = np.array([pair.same for pair in found])
    fold = np.array([pair.fold for pair in found], dtype=np.int64)
    return PairList(tuple(position), Pairs(first, second, same, fold), path)


def _lines(path: Path | str) -> list[str]:
    """The lines of a text file that are not blank.

    Raises
    ------
    DataError : it does not exist, is empty, or is no text
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text ({error.reason} at byte {error.start})") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty")
    return lines
