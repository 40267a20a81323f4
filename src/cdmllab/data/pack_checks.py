"""What `cdmllab inspect` compares in a pack: the index with the records, the ranges with the
labels, the checksums.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab._util import files
from cdmllab.data import records
from cdmllab.data.packs import Pack

NAMED = 20  # problems of one kind that are named one by one


def index(pack: Pack) -> list[str]:
    """Whether the index has every record that is in the file, and each once.

    Raises
    ------
    DataError : damage between the records
    """
    starts, (said, times) = pack.file.scan(), np.unique(pack.file.offsets, return_counts=True)
    missing = np.setdiff1d(starts, said, assume_unique=True)
    name, found = pack.path.with_suffix(".idx").name, []
    if len(missing):
        found.append(
            f"{name} misses {len(missing):,} of the {len(starts):,} records that {pack.path.name} "
            f"holds, "
            f"the first at byte {missing[0]:,}"
        )
    if (times > 1).any():
        found.append(f"{name} names {int((times > 1).sum()):,} records by several keys")
    return found


def ranges(pack: Pack) -> list[str]:
    """Whether the identity records say the ranges that the labels have."""
    if pack.header is None:
        return []
    keys = np.arange(*pack.header)
    order = np.argsort(pack.keys, kind="stable")
    at = np.searchsorted(pack.keys[order], keys)
    record = order[np.minimum(at, len(order) - 1)]  # of each identity's range, if it is there
    there = pack.keys[record] == keys
    said = np.full((len(keys), 2), np.nan)
    for label in np.flatnonzero(there).tolist():
        where = f"{pack.path}, record {keys[label]}"
        labels = records.unpack(pack.file[int(record[label])], where).labels[:2]
        said[label, : len(labels)] = labels
    wanted = spans(pack.labels, pack.num_identities)[: len(keys)]
    wrong = ~there | ((wanted[:, 1] > 0) & differ(said, wanted))
    found = []
    for label in np.flatnonzero(wrong).tolist():
        if not there[label]:
            found.append(f"record {keys[label]}, the range of identity {label}, is missing")
        else:
            numbers = ", ".join(f"{number:.15g}" for number in said[label])
            found.append(
                f"record {keys[label]} gives identity {label} the range [{numbers}], not "
                f"{wanted[label].tolist()}"
            )
    return shortened(found, "identity records")


def spans(labels: NDArray[np.int64], identities: int) -> NDArray[np.int64]:
    """The keys of each identity's images, [first, last + 1), shape (identities, 2); zeros where it
    has none.
    """
    rows = np.arange(len(labels))
    span = np.zeros((identities, 2), dtype=np.int64)
    span[labels[::-1], 0] = rows[::-1] + 1  # of several rows the one that is assigned last stays
    span[labels, 1] = rows + 2
    return span


def differ(said: ArrayLike, wanted: ArrayLike) -> NDArray[np.bool_]:
    """Which ranges (n, 2) are not the wanted ones, shape (n,), as far as float32 can tell.

    A pack stores them as float32, in which whole numbers above 2^24 = 16,777,216 are rounded to
    even ones: there a sound pack says 16,777,220 for 16,777,219.
    """
    wrong: NDArray[np.bool_] = (np.asarray(said, np.float32) != np.asarray(wanted, np.float32)).any(
        axis=1
    )
    return wrong


def checksums(pack: Pack, path: Path) -> list[str]:
    """Whether the records are those that the packer wrote, by its file of CRC-32."""
    whole = path.stat().st_size % 4 == 0
    said = (
        np.frombuffer(
            files.read_bytes(path, "a readable file of checksums", at_most=1 << 30), dtype="<u4"
        )
        if whole
        else np.zeros(0, "<u4")
    )
    if len(said) != len(pack.file):
        return [f"{path.name} has {len(said):,} checksums, there are {len(pack.file):,} records"]
    order = np.argsort(pack.keys, kind="stable")
    wrong = [
        f"record {pack.keys[record]} does not have the checksum it was written with"
        for record, checksum in zip(order.tolist(), said.tolist(), strict=True)
        if zlib.crc32(pack.file[record]) != checksum
    ]
    return shortened(wrong, "records")


def shortened(sentences: Sequence[str], what: str) -> list[str]:
    """The first `NAMED` sentences, and how many more there are."""
    rest = len(sentences) - NAMED
    return [*sentences[:NAMED], *([f"... and {rest:,} more {what}"] if rest > 0 else [])]
