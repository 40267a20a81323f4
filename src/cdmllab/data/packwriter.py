"""Write an InsightFace pack record by record, so that a stop loses one image at most.

In addition to ``train.rec``, ``train.idx`` and ``property`` it writes ``identities.txt`` (one name
per line, in the order of the labels) and ``train.crc`` (CRC-32 of each record as u32, in the order
of the keys). Other readers ignore both; `cdmllab inspect` checks the second.
"""

import json
import os
import zlib
from array import array
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from cdmllab._util.files import replacing, write_text
from cdmllab.data import records
from cdmllab.data.recordio import RecordWriter, frame, write_index
from cdmllab.data.sets import LARGEST_LABEL
from cdmllab.errors import DataError

JOURNAL, CHECKSUMS, NAMES = "journal.jsonl", "train.crc", "identities.txt"
_START = len(frame(records.pack([0.0, 0.0])))  # space for the header record, which is written last


class _Line(BaseModel):
    """A line of the journal: an image that was written or skipped."""

    model_config = ConfigDict(strict=True, extra="forbid")

    file: str
    end: NonNegativeInt
    skipped: str | None = None
    identity: str | None = None
    offset: int | None = Field(None, ge=0, lt=2**63)
    crc: int | None = Field(None, ge=0, lt=2**32)

    @classmethod
    def read(cls, line: bytes) -> Self | None:
        """Parse a line; None if it is malformed."""
        try:
            return cls.model_validate_json(line)
        except ValidationError:
            return None


class PackWriter:
    """Start or resume a pack in a folder; use it in a ``with`` block.

    Attributes
    ----------
    names : every source image that was written or skipped, in order
    skipped : source image -> why
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        self.skipped: dict[str, str] = {}
        self._offsets, self._checksums = array("q"), array("L")
        self._starts: list[int] = []  # key of the first image of each identity
        self._identities: list[str] = []
        rec, journal = folder / "train.rec", folder / JOURNAL
        # Resume: keep what the journal vouches for, and cut off whatever follows in both files.
        kept, end = self._recall(journal, rec.stat().st_size if rec.is_file() else 0)
        self._file = rec.open("r+b" if rec.is_file() else "w+b")
        self._file.truncate(end)
        self._file.write(b"\0" * max(_START - end, 0))  # reserve the header's place
        self._file.seek(0, os.SEEK_END)
        self._writer = RecordWriter(self._file)
        os.truncate(journal, kept) if journal.is_file() else journal.touch()
        self._journal = journal.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for file in (self._file, self._journal):
            try:
                file.close()  # flushes, so a full disk may fail here too
            except OSError:
                if kind is None:  # an error on the way out must not hide the first one
                    raise

    @property
    def processed(self) -> int:
        """Source images written or skipped."""
        return len(self.names)

    @property
    def images(self) -> int:
        """Images in the pack."""
        return len(self._offsets)

    @property
    def identities(self) -> int:
        """Identities in the pack."""
        return len(self._identities)

    @property
    def first_problem(self) -> str:
        """The first image that was skipped, and why."""
        return next((f"{name}: {why}" for name, why in self.skipped.items()), "there was none")

    def add(self, name: str, identity: str, jpeg: bytes) -> None:
        """Write one image; the images of an identity must come one after another."""
        # The label of the last identity if this image is theirs, else the next one.
        label = len(self._identities) - (
            bool(self._identities) and self._identities[-1] == identity
        )
        payload = records.pack(float(label), jpeg, id_=self.images + 1)
        offset, checksum = self._writer.write(payload), zlib.crc32(payload)
        # Hand the record to the system before the journal claims that it is written.
        self._file.flush()
        self._note(name, identity, offset, checksum)
        self._log(
            {
                "file": name,
                "identity": identity,
                "offset": offset,
                "end": self._writer.position,
                "crc": checksum,
            }
        )

    def skip(self, name: str, why: str) -> None:
        """Record that an image is left out."""
        self.names.append(name)
        self.skipped[name] = why
        self._log({"file": name, "skipped": why, "end": self._writer.position})

    def finish(self, size: int) -> None:
        """Write the identities' ranges, the header, the index, ``property``, names and checksums.

        Raises
        ------
        DataError : more images than a float32 label can count
        """
        count, identities = self.images, self.identities
        if count + 1 + identities > LARGEST_LABEL:
            raise DataError(
                f"{count:,} images are too many for a pack, whose header counts up to "
                f"{LARGEST_LABEL:,}"
            )
        # A range ends where the next begins; the last one after the last image.
        ends = [*self._starts[1:], count + 1]
        ranges = [
            records.pack([float(a), float(b)]) for a, b in zip(self._starts, ends, strict=True)
        ]
        offsets = [self._writer.write(payload) for payload in ranges]
        header = records.pack([count + 1.0, count + 1.0 + identities])
        self._file.seek(0)  # the reserved place at the start
        self._file.write(frame(header))
        self._file.flush()
        os.fsync(self._file.fileno())
        # Keys: 0 for the header, then the images, then the ranges; checksums are in the same order.
        keys = np.arange(1 + count + identities)
        with replacing(self.folder / "train.idx") as temporary:
            write_index(temporary, keys, np.array([0, *self._offsets, *offsets]))
        checksums = [
            zlib.crc32(header),
            *self._checksums,
            *(zlib.crc32(payload) for payload in ranges),
        ]
        with replacing(self.folder / CHECKSUMS) as temporary:
            temporary.write_bytes(np.array(checksums, dtype="<u4").tobytes())
        write_text(self.folder / "property", f"{identities},{size},{size}\n")
        write_text(self.folder / NAMES, "".join(f"{name}\n" for name in self._identities))

    def _note(self, name: str, identity: str, offset: int, checksum: int) -> None:
        self.names.append(name)
        if not self._identities or self._identities[-1] != identity:
            self._identities.append(identity)
            self._starts.append(len(self._offsets) + 1)  # keys of images start at 1
        self._offsets.append(offset)
        self._checksums.append(checksum)

    def _log(self, line: dict[str, str | int]) -> None:
        self._journal.write(json.dumps(line) + "\n")
        self._journal.flush()

    def _recall(self, journal: Path, size: int) -> tuple[int, int]:
        """Resume from the journal; returns the valid bytes of it and of the record file.

        Reading stops at the first line that is incomplete, or beyond the end of the record file.
        """
        kept, end = 0, 0
        if not journal.is_file():
            return kept, end
        for line in journal.read_bytes().splitlines(keepends=True):
            entry = _Line.read(line)
            # `end` must rise and lie in the file, else the record of this line was lost.
            if entry is None or not line.endswith(b"\n") or not end <= entry.end <= size:
                break
            if entry.skipped is not None:
                self.names.append(entry.file)
                self.skipped[entry.file] = entry.skipped
            elif entry.identity is None or entry.offset is None or entry.crc is None:
                break
            else:
                self._note(entry.file, entry.identity, entry.offset, entry.crc)
            kept, end = kept + len(line), entry.end
        return kept, end
