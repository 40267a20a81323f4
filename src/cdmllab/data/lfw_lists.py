"""The pair files of LFW: the original text, and the tables that mirrors converted it to."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from cdmllab.data.listed import Pair, PairList, by_fold, is_number, lines, pair_list
from cdmllab.data.pairs import in_folds
from cdmllab.errors import DataError, reader


@reader("a readable list of pairs")
def lfw(path: Path | str, content: bytes | None = None) -> PairList:
    """Read LFW's pairs: ``pairs.txt`` (View 2), ``pairsDevTrain.txt`` (View 1), ``pairs.csv``.

    The first line of a text file has the number of folds and the number of pairs per fold,
    ``10<TAB>300``, or only the latter if there is one fold. Each fold has genuine pairs,
    ``name n m``, and then as many impostor pairs, ``name n name m``.

    There are two kinds of tables. Kaggle's (``name,imagenum1,imagenum2,``) has the rows of
    ``pairs.txt`` without its first line; the other has the columns ``fold_id``, ``is_same``,
    ``image_a`` and ``image_b``.

    Parameters
    ----------
    path : the file, or the archive that contains it
    content : of the file, if it is in an archive

    Raises
    ------
    DataError : names the malformed line, or a fold with too few pairs
    """
    path, rows = Path(path), lines(path, content)
    header = [field.strip() for field in rows[0].split(",")]
    if header[0] == "name":
        return pair_list(_in_ten(_kaggle(rows, path), path), path)
    if {"fold_id", "is_same", "image_a", "image_b"} <= set(header):
        return pair_list(by_fold(_table(rows, header, path), path), path)
    return pair_list(_text(rows, path), path)


def _text(rows: list[str], path: Path) -> list[Pair]:
    header = rows[0].split()
    if not 1 <= len(header) <= 2 or not all(is_number(field) for field in header):
        raise DataError(f"{path}, line 1: expected `folds pairs`, got {rows[0][:60]!r}")
    # One number is View 1, which has no folds: its pairs form a single one.
    folds, per_fold = (1, int(header[0])) if len(header) == 1 else (int(header[0]), int(header[1]))
    if len(rows) - 1 != 2 * folds * per_fold:
        raise DataError(
            f"{path}: the first line declares {folds} folds of {per_fold} + {per_fold} pairs, but "
            f"{len(rows) - 1:,} lines follow"
        )
    pairs = []
    for k, line in enumerate(rows[1:]):
        # Names with spaces need the tabs. In each fold
        # the first `per_fold` lines are genuine pairs.
        fields, same = line.split("\t") if "\t" in line else line.split(), k // per_fold % 2 == 0
        pair = _pair([field.strip() for field in fields], k // (2 * per_fold))
        if pair is None or pair.same is not same:
            form = "name n m" if same else "name n name m"
            raise DataError(f"{path}, line {k + 2}: expected `{form}`, got {line[:80]!r}")
        pairs.append(pair)
    return pairs


def _kaggle(rows: list[str], path: Path) -> list[Pair]:
    """A new fold begins wherever a genuine pair follows an impostor pair."""
    pairs: list[Pair] = []
    fold = 0
    for number, row in _cells(rows, path):
        pair = _pair([cell.strip() for cell in row if cell.strip()], fold)
        if pair is None:
            raise DataError(
                f"{path}, row {number}: expected `name,n,m,` or `name,n,name,m`, got {row!r:.80}"
            )
        if pair.same and pairs and not pairs[-1].same:
            fold += 1
            pair = pair._replace(fold=fold)
        pairs.append(pair)
    return pairs


def _in_ten(pairs: list[Pair], path: Path) -> list[Pair]:
    """The pairs unchanged if they have ten folds, else distributed to ten by `in_folds`."""
    if pairs and pairs[-1].fold == 9:
        return pairs
    # Deal genuine and impostor pairs separately, so that every fold gets both.
    kinds = [[pair for pair in pairs if pair.same is same] for same in (True, False)]
    try:
        dealt = [zip(kind, in_folds(len(kind), 10).tolist(), strict=True) for kind in kinds]
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    in_ten = [pair._replace(fold=fold) for kind in dealt for pair, fold in kind]
    return sorted(in_ten, key=lambda pair: (pair.fold, not pair.same))


def _table(rows: list[str], header: list[str], path: Path) -> list[Pair]:
    pairs = []
    for number, row in _cells(rows, path):
        # A row may have fewer cells than the header; missing ones read as empty below.
        cells = {key: cell.strip() for key, cell in zip(header, row, strict=False)}
        names = [image(cells.get(key, "")) for key in ("image_a", "image_b")]
        fold, same = cells.get("fold_id", ""), cells.get("is_same", "")
        if None in names or not is_number(fold) or int(fold) < 1 or same not in ("0", "1"):
            raise DataError(
                f"{path}, row {number}: expected a fold from 1 on, is_same 0 or 1, and two images, "
                f"got {row!r:.80}"
            )
        first, second = (_name(*name) for name in names if name is not None)
        pairs.append(Pair(first, second, same == "1", int(fold) - 1))
    return pairs


def _cells(rows: list[str], path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table below its header, with their numbers."""
    try:
        yield from enumerate(csv.reader(rows[1:]), start=2)
    except csv.Error as error:
        raise DataError(f"{path} is not a readable table ({error})") from None


def image(name: str) -> tuple[str, str] | None:
    """Person and number from a path that ends in ``Name_0001.jpg``; None for other paths."""
    # Any name, an underscore, four digits, and the extension in any case.
    match = re.fullmatch(r"(.+)_([0-9]{4})\.jpe?g", PurePosixPath(name).name, re.IGNORECASE)
    return (match[1], match[2]) if match else None


def _pair(fields: Sequence[str], fold: int) -> Pair | None:
    """``name n m`` or ``name n name m``; None for anything else."""
    if len(fields) == 3 and all(map(is_number, fields[1:])):
        return Pair(_name(fields[0], fields[1]), _name(fields[0], fields[2]), True, fold)
    if len(fields) == 4 and all(map(is_number, fields[1::2])):
        return Pair(_name(fields[0], fields[1]), _name(fields[2], fields[3]), False, fold)
    return None


def _name(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}.jpg"
