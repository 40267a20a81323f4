"""The checks of `cdmllab inspect` on a pack: its index, its identity records, its checksums."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab._util import files
from cdmllab.data import records
from cdmllab.data.packs import Pack

NAMED = 20  # problems of one kind that are listed individually


def index(pack: Pack) -> list[str]:
    """Check that the index has every record of the file exactly once.

    Raises
    ------
    DataError : damage between the records
    """
    starts, (stored, times) = pack.file.scan(), np.unique(pack.file.offsets, return_counts=True)
    missing = np.setdiff1d(starts, stored, assume_unique=True)
    name, problems = pack.path.with_suffix(".idx").name, []
    if len(missing):
        problems.append(
            f"{name} lacks {len(missing):,} of the {len(starts):,} records of {pack.path.name}, "
            f"the first at byte {missing[0]:,}"
        )
    if (times > 1).any():
        problems.append(f"{name} names {int((times > 1).sum()):,} records by several keys")
    return problems


def ranges(pack: Pack) -> list[str]:
    """Check the ranges in the identity records against the labels."""
    if pack.header is None:
        return []
    # Keys of the identities' ranges, and the record that has each, by bisection in the sorted keys.
    keys = np.arange(*pack.header)
    order = np.argsort(pack.keys, kind="stable")
    at = np.searchsorted(pack.keys[order], keys)
    record = order[np.minimum(at, len(order) - 1)]  # of each identity's range, if it is there
    there = pack.keys[record] == keys
    stored = np.full((len(keys), 2), np.nan)  # NaN where there is no range
    for label in np.flatnonzero(there).tolist():
        where = f"{pack.path}, record {keys[label]}"
        labels = records.unpack(pack.file[int(record[label])], where).labels[:2]
        stored[label, : len(labels)] = labels
    # An identity without images may have any range.
    expected = spans(pack.labels, pack.num_identities)[: len(keys)]
    wrong = ~there | ((expected[:, 1] > 0) & differ(stored, expected))
    problems = []
    for label in np.flatnonzero(wrong).tolist():
        if not there[label]:
            problems.append(f"record {keys[label]}, the range of identity {label}, is missing")
        else:
            numbers = ", ".join(f"{number:.15g}" for number in stored[label])
            problems.append(
                f"record {keys[label]} gives identity {label} the range [{numbers}], not "
                f"{expected[label].tolist()}"
            )
    return shortened(problems, "identity records")


def spans(labels: NDArray[np.int64], identities: int) -> NDArray[np.int64]:
    """The keys of each identity's images, [first, last + 1), shape (identities, 2); else zeros."""
    rows = np.arange(len(labels))
    span = np.zeros((identities, 2), dtype=np.int64)
    span[labels[::-1], 0] = rows[::-1] + 1  # with repeated indices, the last assignment wins
    span[labels, 1] = rows + 2
    return span


def differ(stored: ArrayLike, expected: ArrayLike) -> NDArray[np.bool_]:
    """Which ranges (n, 2) differ from the expected ones as float32, shape (n,).

    A pack stores them as float32, which rounds integers above 2^24 = 16,777,216 to even ones: a
    correct pack then has 16,777,220 for 16,777,219.
    """
    wrong: NDArray[np.bool_] = (
        np.asarray(stored, np.float32) != np.asarray(expected, np.float32)
    ).any(axis=1)
    return wrong


def checksums(pack: Pack, path: Path) -> list[str]:
    """Check the records against the CRC-32 that the packer wrote."""
    complete = path.stat().st_size % 4 == 0
    stored = (
        np.frombuffer(
            files.read_bytes(path, "a readable file of checksums", at_most=1 << 30), dtype="<u4"
        )
        if complete
        else np.zeros(0, "<u4")
    )
    if len(stored) != len(pack.file):
        return [f"{path.name} has {len(stored):,} checksums, there are {len(pack.file):,} records"]
    order = np.argsort(pack.keys, kind="stable")
    wrong = [
        f"record {pack.keys[record]} does not have the checksum it was written with"
        for record, checksum in zip(order.tolist(), stored.tolist(), strict=True)
        if zlib.crc32(pack.file[record]) != checksum
    ]
    return shortened(wrong, "records")


def shortened(sentences: Sequence[str], what: str) -> list[str]:
    """The first `NAMED` sentences, and the number of the others."""
    rest = len(sentences) - NAMED
    return [*sentences[:NAMED], *([f"... and {rest:,} more {what}"] if rest > 0 else [])]
