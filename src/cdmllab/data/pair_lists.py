"""Readers of the pair files of LFW, CFP, AgeDB-30, CALFW and CPLFW."""

from collections.abc import Sequence
from pathlib import Path

from cdmllab._util import files
from cdmllab.data import agedb_names
from cdmllab.data.lfw_lists import lfw
from cdmllab.data.listed import Pair, PairList, by_fold, is_number, lines, pair_list
from cdmllab.data.pairs import in_folds
from cdmllab.errors import DataError, reader, reading

__all__ = ["PairList", "agedb", "calfw", "cfp", "lfw"]


def cfp(protocol: Path | str, kind: str) -> PairList:
    """Read the 10 folds of CFP's ``Protocol`` folder.

    ``Pair_list_F.txt`` and ``Pair_list_P.txt`` number the images from 1. ``Split/FP/01/same.txt``
    and its like have lines ``i,j``; in FP, i is a frontal image and j a profile.

    Parameters
    ----------
    protocol : the folder
    kind : ``"FF"`` (frontal-frontal) or ``"FP"`` (frontal-profile)

    Raises
    ------
    DataError : a file is missing, a line is malformed, or a number is not in the list
    """
    if kind not in ("FF", "FP"):
        raise ValueError(f"kind must be 'FF' or 'FP', got {kind!r}")
    with reading(protocol, "a readable protocol of CFP"):
        return _cfp(Path(protocol), kind)


def _cfp(protocol: Path, kind: str) -> PairList:
    frontal = _cfp_numbered(protocol / "Pair_list_F.txt")
    second = frontal if kind == "FF" else _cfp_numbered(protocol / "Pair_list_P.txt")
    # Folders are named 01 to 10, so their order is that of the folds.
    folders = sorted(folder for folder in (protocol / "Split" / kind).glob("*") if folder.is_dir())
    if not folders:
        raise DataError(f"{protocol / 'Split' / kind} contains no folds")
    pairs = []
    for fold, folder in enumerate(folders):
        for file, same in ((folder / "same.txt", True), (folder / "diff.txt", False)):
            for number, line in enumerate(lines(file), start=1):
                fields = [field.strip() for field in line.split(",")]
                # -1 is in no list: a malformed line is reported together with unknown numbers.
                i, j = (
                    (int(field) for field in fields)
                    if len(fields) == 2 and all(map(is_number, fields))
                    else (-1, -1)
                )
                if i not in frontal or j not in second:
                    raise DataError(
                        f"{file}, line {number}: expected two numbers from the image lists, got "
                        f"{line[:60]!r}"
                    )
                pairs.append(Pair(frontal[i], second[j], same, fold))
    return pair_list(by_fold(pairs, protocol / "Split" / kind), protocol / "Split" / kind)


@reader("a protocol file of AgeDB")
def agedb(path: Path | str, folder: str = "03_Protocol_Images", suffix: str = ".jpg") -> PairList:
    """Read the pairs of AgeDB's ``04_FINAL_protocol_30_years.mat``.

    Its ``splits`` is a cell of 10 folds of 2 x 600 images. A pair is genuine if both names begin
    with the same person, up to the first underscore.

    Parameters
    ----------
    folder, suffix : added before and after the names in the file

    Raises
    ------
    DataError : the file is not a MATLAB file of this form
    """
    path = Path(path)
    content = files.read_bytes(path, "a protocol file of AgeDB", at_most=agedb_names.MOST_BYTES)
    pairs = [
        Pair(
            f"{folder}/{first}{suffix}",
            f"{folder}/{second}{suffix}",
            first.split("_")[0] == second.split("_")[0],
            fold,
        )
        for fold, names in enumerate(agedb_names.read(content, str(path)))
        for first, second in names
    ]
    return pair_list(by_fold(pairs, path), path)


@reader("a readable list of pairs")
def calfw(path: Path | str, folder: str = "") -> PairList:
    """Read the list of CALFW or CPLFW: two lines ``image token`` per pair, token 0 for impostors.

    In CALFW the token of a genuine pair is its fold, 1 to 10. Impostor pairs have no fold in the
    file, and neither have any pairs of CPLFW, where tokens are only 0 and 1: they are distributed
    to ten folds in the order of the file, see `cdmllab.data.pairs.in_folds`.

    Parameters
    ----------
    folder : added before the names in the file, for instance ``aligned images``

    Raises
    ------
    DataError : a line is malformed, the tokens of a pair differ, or there are fewer pairs of a kind
        than folds
    """
    path, rows = Path(path), [line.rsplit(None, 1) for line in lines(path)]
    if len(rows) % 2:
        raise DataError(f"{path}: {len(rows):,} lines are not a whole number of pairs of two lines")
    # First pass: read pairs of lines, and count both kinds, which `in_folds` needs.
    named, counts = [], [0, 0]  # counts of impostor and genuine pairs
    for k in range(0, len(rows), 2):
        (first, token), (second, other) = _two(rows[k], path, k), _two(rows[k + 1], path, k + 1)
        if token != other:
            raise DataError(
                f"{path}, lines {k + 1} and {k + 2}: the tokens of a pair must be equal, got "
                f"{token} and {other}"
            )
        named.append((first, second, token))
        counts[token > 0] += 1
    # Tokens above 1 are folds, which only CALFW has.
    with_folds = max(token for _, _, token in named) > 1
    try:
        folds = [
            in_folds(counts[same], 10) if not (same and with_folds) else None
            for same in (False, True)
        ]
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    # Second pass: each kind is dealt to the folds in the order of the file.
    used, pairs = [0, 0], []
    for first, second, token in named:
        same = token > 0
        dealt = folds[same]
        fold = token - 1 if dealt is None else int(dealt[used[same]])
        used[same] += 1
        prefix = f"{folder}/" if folder else ""
        pairs.append(Pair(prefix + first, prefix + second, same, fold))
    return pair_list(by_fold(pairs, path), path)


def _cfp_numbered(path: Path) -> dict[int, str]:
    names = {}
    for number, line in enumerate(lines(path), start=1):
        fields = line.split(None, 1)
        if len(fields) != 2 or not is_number(fields[0]):
            raise DataError(f"{path}, line {number}: expected `number path`, got {line[:60]!r}")
        # Relative to the Protocol folder.
        names[int(fields[0])] = fields[1].strip().removeprefix("../")
    return names


def _two(fields: Sequence[str], path: Path, row: int) -> tuple[str, int]:
    if len(fields) != 2 or not is_number(fields[1]):
        raise DataError(
            f"{path}, line {row + 1}: expected `image token`, got {' '.join(fields)[:60]!r}"
        )
    return fields[0], int(fields[1])
