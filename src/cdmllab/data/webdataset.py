"""WebDataset shards: tar files whose samples are ``<key>.jpg`` and ``<key>.cls``, an ASCII label.

An index with the position of each image is built once per shard and kept next to the shards, so
that rows can be read in any order. A ``.tar.gz`` has no random access, so it is unpacked once to a
``.tar`` in the folder of the index. JPEGs hardly compress, so both take about the same space.
Source: https://github.com/webdataset/webdataset; the tar format: POSIX.1-2001, pax.
"""

import gzip
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, cast

import numpy as np

from cdmllab._util.build_lock import claimed
from cdmllab._util.files import opened, read_record, replacing, write_text
from cdmllab.data.archives import Bounded, unpack_limit
from cdmllab.data.decode import Colour
from cdmllab.data.encoded import EncodedSet
from cdmllab.data.walk import files_in, is_clutter
from cdmllab.errors import DataError, plain, reader

INDEX = ".cdmllab-index"
ENDINGS = (".tar", ".tar.gz", ".tgz")
_IMAGES = (".jpg", ".jpeg", ".png", ".webp")
_LONGEST_LABEL = 20  # bytes
_LARGEST = 64 << 20  # bytes of an image
_LARGEST_SHARD = 1 << 42  # bytes
_FEW, _BYTES_EACH = 100_000, 50  # members that any shard may have; bytes per member of larger ones
_KEPT_OPEN = 256  # shards; the number of open files per process is limited


class _Index(NamedTuple):
    """The index of one shard: a value per image."""

    offsets: list[int]  # bytes from the start of the tar
    sizes: list[int]  # bytes
    labels: list[int]


class WebDataset(EncodedSet):
    """A shard, or a folder of shards in natural order, as a training set.

    Raises
    ------
    DataError : there are no shards, one is damaged, or a sample has no label or no image; the
        message names the shard and the key
    CdmlLabError : another process is building the index
    """

    @reader("readable WebDataset shards")
    def __init__(self, path: Path | str, *, colour: Colour = "RGB", fast: bool = False) -> None:
        path = Path(path)
        self._shards: list[Path] = []
        offsets, sizes, labels, shard_of = [], [], [], []
        # Concatenate the indexes of all shards: a row is a shard, an offset and a size.
        for k, shard in enumerate(shards(path)):
            tar, index = _indexed(shard)
            self._shards.append(tar)
            offsets += index.offsets
            sizes += index.sizes
            labels += index.labels
            shard_of += [k] * len(index.labels)
        self._offsets, self._sizes, self._shard_of = (
            np.array(offsets),
            np.array(sizes),
            np.array(shard_of),
        )
        self._open: dict[int, int] = {}  # shard -> file descriptor
        self._lock = threading.Lock()
        super().__init__(path, np.array(labels, dtype=np.int64), colour=colour, fast=fast)

    def image(self, row: int) -> bytes:
        """The encoded image of a row."""
        size = int(self._sizes[row])
        with self._opened(int(self._shard_of[row])) as descriptor:
            # pread needs no seek, so threads can share the descriptor.
            data = os.pread(descriptor, size, int(self._offsets[row]))
        if len(data) != size:
            raise DataError(f"{self.where(row)}: the shard ends inside the image")
        return data

    def where(self, row: int) -> str:
        """The name of a row in error messages."""
        return f"{self._shards[int(self._shard_of[row])]}, byte {self._offsets[row]}"

    @contextmanager
    def _opened(self, shard: int) -> Iterator[int]:
        """A shard's file descriptor: kept open for the first shards, opened anew for the others.

        A kept one is never closed before the set is gone. Another thread may be reading from it,
        and the system gives its number to the next file that is opened.
        """
        with self._lock:
            if shard not in self._open and len(self._open) < _KEPT_OPEN:
                self._open[shard] = self._open_shard(shard)
            kept = self._open.get(shard)
        if kept is not None:
            yield kept
            return
        descriptor = self._open_shard(shard)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_shard(self, shard: int) -> int:
        return os.open(self._shards[shard], os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        for descriptor in getattr(self, "_open", {}).values():
            os.close(descriptor)


def shards(path: Path) -> list[Path]:
    """The shards of a folder, in natural order; a file is a single shard.

    Raises
    ------
    DataError : there are none
    """
    if path.is_file():
        return [path]
    files = [file for file in files_in(path, "*") if file.name.endswith(ENDINGS)]
    if not files:
        raise DataError(f"{path} contains no shards ({', '.join(ENDINGS)})")
    return files


def _indexed(shard: Path) -> tuple[Path, _Index]:
    """The uncompressed tar of a shard and its index, which is built if needed."""
    with opened(shard, at_most=_LARGEST_SHARD):  # reading a pipe would wait for its writer
        pass
    status = shard.stat()
    # Size and time of the shard: if either changes, the index is built again.
    stamp = {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    kept = shard.parent / INDEX / f"{shard.name}.json"
    tar = shard
    if not shard.name.endswith(".tar"):
        # Unpacked next to the index.
        tar = shard.parent / INDEX / f"{shard.name.split('.tar')[0].removesuffix('.tgz')}.tar"
    try:
        record: dict[str, Any] = read_record(kept)
        if all(record.get(key) == value for key, value in stamp.items()) and tar.is_file():
            return tar, _Index(record["offsets"], record["sizes"], record["labels"])
    except (DataError, KeyError):
        pass  # missing or damaged: build it
    kept.parent.mkdir(exist_ok=True)
    with claimed(kept):
        if tar != shard:
            with replacing(tar) as temporary:
                _unpack(shard, temporary, unpack_limit(status.st_size))
        index = _samples(tar, max(_FEW, status.st_size // _BYTES_EACH))
        write_text(kept, json.dumps({**stamp, **index._asdict()}))
    return tar, index


def _unpack(shard: Path, tar: Path, limit: int) -> None:
    """Unpack a compressed shard, unless it is implausibly large."""
    # Count down, so that no more than the limit is written.
    left = limit
    with gzip.open(shard) as source, tar.open("wb") as target:
        while block := source.read(1 << 20):
            left -= len(block)
            if left < 0:
                raise DataError(
                    f"{shard} is refused: it unpacks to over {limit:,} bytes, which is implausible"
                )
            target.write(block)


def _samples(tar: Path, most: int) -> _Index:
    """Build the index of a tar of at most so many members, in the order of its images."""
    left = most
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, int] = {}
    with tar.open("rb") as file:
        content = cast(Any, Bounded(file, tar.stat().st_size, tar))
        archive = tarfile.open(fileobj=content, mode="r:")  # noqa: SIM115  (it owns no file)
        while (member := archive.next()) is not None:
            # Else tarfile keeps every member, of which there may be millions.
            archive.members.clear()  # type: ignore[attr-defined]
            left -= 1
            if left < 0:
                raise DataError(f"{tar} has more than {most:,} members, implausibly many")
            if not member.isreg() or is_clutter(member.name):
                continue
            # In a tar, image and label are separate members
            # in any order, joined by their common key.
            name = PurePosixPath(member.name)
            key, ending = str(name.with_suffix("")), name.suffix.lower()
            if ending in _IMAGES:
                if not 0 <= member.size <= _LARGEST:
                    raise DataError(
                        f"{tar}, {plain(name, 80)} has {member.size:,} bytes; at most {_LARGEST:,} "
                        f"are allowed"
                    )
                images[key] = (member.offset_data, member.size)
            elif ending == ".cls":
                stream = archive.extractfile(member)
                label = b"" if stream is None else stream.read(_LONGEST_LABEL + 1).strip()
                if not label.isdigit() or len(label) > _LONGEST_LABEL:
                    raise DataError(
                        f"{tar}, {plain(name, 80)}: a label must be a whole number, got "
                        f"{label[:20]!r}"
                    )
                labels[key] = int(label)
    # Both ways: each image has a label and each label an image.
    for keys, others, missing in ((images, labels, "label (.cls)"), (labels, images, "image")):
        for key in keys:
            if key not in others:
                raise DataError(f"{tar}: sample {plain(key, 80)} has no {missing}")
    return _Index(
        [offset for offset, _ in images.values()],
        [size for _, size in images.values()],
        [labels[k] for k in images],
    )
