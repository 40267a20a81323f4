"""Look a data file over from end to end: what it holds, and everything that is wrong with it."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cdmllab.data import bins, records
from cdmllab.data.decode import decode
from cdmllab.data.folders import is_picture, listing
from cdmllab.data.packs import Pack, read_property
from cdmllab.data.packwriter import CHECKSUMS
from cdmllab.errors import DataError

Progress = Callable[[int, int], None]
TOLD = 20  # problems of one kind that are told one by one


class Findings(NamedTuple):
    """What was found."""

    kind: str  # "pack", "bin" or "folder"
    facts: dict[str, str]  # what it holds, in the order in which it is told
    problems: list[str]  # sentences; empty when all is well


def inspect(path: Path | str, *, quick: bool = False, progress: Progress | None = None) -> Findings:
    """Look over a pack (folder or ``.rec``), a bin (``.bin`` or ``.npz``) or an identity folder.

    Damage that stops the reading is a problem like others, so this raises only for what is none of the three.

    Parameters
    ----------
    quick : do not decode the pictures
    progress : called with pictures looked at and pictures in all

    Raises
    ------
    DataError : `path` does not exist or is of no known kind
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if path.is_dir():
        look = (_pack, "pack") if any(path.glob("*.rec")) else (_folder, "folder")
    elif path.suffix in (".bin", ".npz"):
        look = (_bin, "bin")
    elif path.suffix == ".rec":
        look = (_pack, "pack")
    else:
        raise DataError(f"{path} is neither a pack (.rec), a bin (.bin, .npz) nor a folder")
    facts: dict[str, str] = {}
    problems: list[str] = []
    try:
        look[0](path, facts, problems, quick, progress)
    except DataError as error:
        problems.append(str(error))
    return Findings(look[1], facts, problems)


def _pack(path: Path, facts: dict[str, str], problems: list[str], quick: bool, progress: Progress | None) -> None:
    pack = Pack(path)
    folder = pack.path.parent
    facts["records"] = f"{len(pack.file):,}"
    facts["header record"] = "yes" if pack.header else "no (as im2rec packs)"
    facts["index"] = "yes" if pack.path.with_suffix(".idx").exists() else "no, the file was scanned"
    facts["pictures"] = f"{len(pack):,}"
    facts["identities"] = f"{pack.num_identities:,}"
    facts |= _spread(np.bincount(pack.labels, minlength=pack.num_identities))
    gaps = pack.gaps()
    if len(gaps):
        problems.append(f"{len(gaps):,} identities have no picture, the first is {gaps[0]}")
    said = read_property(folder / "property")
    if said is not None and pack.header and said.num_identities != pack.num_identities:
        problems.append(f"property says {said.num_identities:,} identities, the header {pack.num_identities:,}")
    if pack.header:
        problems += _ranges(pack)
    if (folder / CHECKSUMS).is_file():
        problems += _checksums(pack, folder / CHECKSUMS)
        facts["checksums"] = "checked"
    if not quick:
        expected = (said.height, said.width) if said else None
        _pictures(
            lambda row: decode(pack.image(row), f"record {pack.keys[pack.records[row]]}", strict=True),
            *(len(pack), expected, facts, problems, progress),
        )


def _ranges(pack: Pack) -> list[str]:
    """Whether the identity records tell the ranges that the labels have."""
    if pack.header is None:
        return []
    start, end = pack.header
    record = dict(zip(pack.keys.tolist(), range(len(pack.keys)), strict=True))
    rows = np.arange(len(pack))
    first, last = np.zeros((2, pack.num_identities), dtype=np.int64)
    first[pack.labels[::-1]], last[pack.labels] = rows[::-1] + 1, rows + 2  # of several rows the last one stays
    found = []
    for label, key in enumerate(range(start, end)):
        if key not in record:
            found.append(f"record {key}, the range of identity {label}, is missing")
            continue
        told = records.unpack(pack.file[record[key]], f"{pack.path}, record {key}").labels[:2]
        wanted = [int(first[label]), int(last[label])]
        if wanted[1] and told.tolist() != wanted:
            range_ = ", ".join(f"{number:g}" for number in told)
            found.append(f"record {key} gives identity {label} the range [{range_}], not {wanted}")
    return _shortened(found, "identity records")


def _checksums(pack: Pack, path: Path) -> list[str]:
    told = np.frombuffer(path.read_bytes(), dtype="<u4") if path.stat().st_size % 4 == 0 else np.zeros(0, "<u4")
    if len(told) != len(pack.file):
        return [f"{path.name} has {len(told):,} checksums, there are {len(pack.file):,} records"]
    order = np.argsort(pack.keys, kind="stable")
    wrong = [
        f"record {pack.keys[record]} does not have the checksum it was written with"
        for record, checksum in zip(order.tolist(), told.tolist(), strict=True)
        if zlib.crc32(pack.file[record]) != checksum
    ]
    return _shortened(wrong, "records")


def _bin(path: Path, facts: dict[str, str], problems: list[str], quick: bool, progress: Progress | None) -> None:
    found = bins.read(path)
    facts["pictures"] = f"{len(found.images):,}"
    facts["pairs"] = f"{len(found.same):,} ({int(found.same.sum()):,} genuine, {int((~found.same).sum()):,} impostor)"
    stored = sum(isinstance(image, bytes) for image in found.images)
    facts["stored as"] = "JPEG" if stored == len(found.images) else f"pixels ({len(found.images) - stored:,})"
    if len(found.same) % bins.FOLDS:
        problems.append(f"{len(found.same):,} pairs cannot be parted into {bins.FOLDS} equal folds")
    else:
        genuine = found.same.reshape(bins.FOLDS, -1).sum(axis=1)
        if (genuine * 2 != len(found.same) // bins.FOLDS).any():
            told = ", ".join(str(count) for count in genuine)
            problems.append(f"a fold does not have as many genuine as impostor pairs (genuine: {told})")
    if not quick:
        _pictures(lambda k: found.picture(k, strict=True), *(len(found.images), None, facts, problems, progress))


def _folder(path: Path, facts: dict[str, str], problems: list[str], quick: bool, progress: Progress | None) -> None:
    found = listing(path)
    facts["pictures"] = f"{len(found.files):,}"
    facts["identities"] = f"{found.num_identities:,}"
    facts |= _spread(np.bincount(found.labels))
    loose = sum(is_picture(file) for file in path.iterdir())
    if loose:
        problems.append(f"{loose:,} pictures lie beside the identity folders and belong to nobody")
    if not quick:
        _pictures(
            lambda row: decode(found.files[row].read_bytes(), str(found.files[row].relative_to(path)), strict=True),
            *(len(found.files), None, facts, problems, progress),
            one_size=False,
        )


def _pictures(
    read: Callable[[int], np.ndarray[tuple[int, ...], np.dtype[np.uint8]]],
    count: int,
    expected: tuple[int, int] | None,
    facts: dict[str, str],
    problems: list[str],
    progress: Progress | None,
    one_size: bool = True,
) -> None:
    sizes: dict[tuple[int, ...], int] = {}
    bad = []
    for k in range(count):
        try:
            shape = read(k).shape[:2]
            sizes[shape] = sizes.get(shape, 0) + 1
        except DataError as error:
            bad.append(str(error))
        if progress is not None:
            progress(k + 1, count)
    ordered = sorted(sizes.items(), key=lambda item: -item[1])
    facts["sizes"] = ", ".join(f"{w} x {h} ({n:,})" for (h, w), n in ordered[:4]) + (" ..." if len(sizes) > 4 else "")
    facts["decoded"] = f"{count - len(bad):,} of {count:,}"
    problems += _shortened(bad, "pictures")
    if expected and ordered and any(size != expected for size in sizes):
        problems.append(f"property says {expected[1]} x {expected[0]} pixels, there are pictures of other sizes")
    elif one_size and len(sizes) > 1:
        problems.append(f"the pictures have {len(sizes)} different sizes")


def _spread(counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[str, str]:
    if len(counts) == 0:
        return {}
    median = float(np.median(counts))
    return {"pictures an identity": f"{counts.min():,} to {counts.max():,}, median {median:g}"}


def _shortened(sentences: Sequence[str], what: str) -> list[str]:
    rest = len(sentences) - TOLD
    return [*sentences[:TOLD], *([f"... and {rest:,} more {what}"] if rest > 0 else [])]
