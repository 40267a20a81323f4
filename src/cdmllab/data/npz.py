"""Read untrusted ``.npz`` files of NumPy: plain arrays of a plausible size."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdmllab._util import files
from cdmllab.errors import DataError, plain, reading

_LARGEST = 1 << 40  # bytes of a file
_MEMBERS = 1000
_ROOM = 64 << 20  # bytes that an array may have at any compression ratio
_RATIO = 100  # above that, the largest compression ratio that is believed
_CHUNK = 1 << 20
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Arrays:
    """The arrays of a file by name, read on access; ``files`` has the names."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path
        members = archive.infolist()
        if len(members) > _MEMBERS:
            raise DataError(f"{path} has {len(members):,} members; {_MEMBERS:,} are allowed")
        self._members = {member.filename.removesuffix(".npy"): member for member in members}
        if len(self._members) < len(members):
            raise DataError(f"{path} has two arrays of one name")
        self.files = list(self._members)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._read(name, "biuf", "numbers")

    def text(self, name: str) -> NDArray[np.str_]:
        """An array of texts."""
        return self._read(name, "U", "text")

    def _read(self, name: str, kinds: str, expected: str) -> NDArray[Any]:
        if name not in self._members:
            raise DataError(
                f"{self._path} has no array {name!r}; it has "
                f"{plain(', '.join(self.files), 80) or 'none'}"
            )
        member, where = self._members[name], f"{self._path}, array {plain(name, 40)}"
        if member.flag_bits & 1:
            raise DataError(f"{where} is encrypted")
        if member.file_size > max(_ROOM, _RATIO * member.compress_size):
            raise DataError(
                f"{where} has {member.file_size:,} bytes, packed into {member.compress_size:,}: "
                f"implausible"
            )
        # Read the array by hand, since `np.load` allocates whatever the header declares.
        with self._archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in _READ_HEADER:
                raise DataError(
                    f"{where} is of NPY version {version}, which plain arrays do not need"
                )
            shape, by_columns, dtype = _READ_HEADER[version](stream)
            if dtype.kind not in kinds:
                raise DataError(f"{where} contains {plain(dtype, 40)}, expected {expected}")
            size = prod(shape) * dtype.itemsize
            # The content must fill the member exactly, from the end of the header on.
            if min(shape, default=0) < 0 or stream.tell() + size != member.file_size:
                raise DataError(
                    f"{where} declares {plain(shape, 60)} {dtype}, but has {member.file_size:,} "
                    f"bytes"
                )
            # Read in chunks into the array itself; `into` is the part that is still empty.
            flat = np.empty(prod(shape), dtype)
            into = flat.view(np.uint8).data if size else memoryview(b"")
            while into:
                content = stream.read(min(_CHUNK, len(into)))
                into[: len(content)], into = content, into[len(content) :]
                if not content:
                    raise DataError(f"{where} ends early")
            stream.read(1)  # reaching the end makes zipfile verify the checksum
        return flat.reshape(shape, order="F" if by_columns else "C")


@contextmanager
def opened(path: Path) -> Iterator[Arrays]:
    """The arrays of a file by name, read on access.

    Raises
    ------
    MissingError : there is no such file
    DataError : it is damaged, or has anything but arrays of numbers; also raised when the block
        reads one
    """
    with (
        reading(path, "a readable .npz file"),
        files.opened(path, at_most=_LARGEST) as file,
        zipfile.ZipFile(file) as archive,
    ):
        yield Arrays(archive, path)
