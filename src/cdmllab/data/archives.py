"""Read untrusted zip and tar archives.

No member may be written outside the target folder, replace another one, or be implausibly large for
the size of the archive: a few megabytes can declare terabytes, and can even contain them.
"""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from cdmllab._util.files import leads_outside, opened, printable, replacing
from cdmllab.errors import CdmlLabError, DataError, cause, plain

_BLOCK_BYTES = 2**20
_LARGEST = 1 << 42  # bytes of an archive
_ROOM = 256 << 20  # bytes that all members together may have at any compression ratio
_RATIO = 100  # above that, the largest compression ratio that is believed
_HEAD_BYTES = 4096
_IN_MEMORY = 64 << 20  # bytes of a member that is read into memory
_LONGEST_NAME, _LONGEST_PART, _DEEPEST = 1000, 255, 64  # characters, bytes, folders
_COMPRESSED: dict[bytes, Callable[[Any], Any]] = {  # by the first bytes of the file
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}


class _Member(NamedTuple):
    name: str
    size: int  # bytes
    open: Callable[[], IO[bytes]]


def members(
    path: Path | str, select: Callable[[str], bool] = lambda name: True
) -> Iterator[tuple[str, bytes]]:
    """The printable names and contents of the files in a zip or tar archive, in its order.

    Parameters
    ----------
    path : the archive
    select : called with each name; files for which it returns False are skipped

    Raises
    ------
    DataError : not an archive, a damaged one, a password, a link, two members of the same name, a
        name that leads outside, or members far larger than the archive
    """
    for member in _members(Path(path)):
        name = printable(member.name)
        if select(name):
            where = f"{path}, {plain(name, 100)}"
            if member.size > _IN_MEMORY:
                raise DataError(f"{where} has {member.size:,} bytes; {_IN_MEMORY:,} are allowed")
            yield name, b"".join(_blocks(member, where))


def extract(
    path: Path | str, into: Path | str, *, progress: Callable[[int], None] | None = None
) -> int:
    """Unpack an archive; existing files of the right size are kept, so it can be resumed.

    Parameters
    ----------
    progress : called with the number of files done

    Returns
    -------
    The number of files in the archive.

    Raises
    ------
    DataError : as `members`
    OSError : no space left, no permission
    """
    count = 0
    for member in _members(Path(path)):
        target = Path(into) / member.name
        if not target.is_file() or target.stat().st_size != member.size:
            with replacing(target) as temporary, temporary.open("wb") as file:
                for block in _blocks(member, f"{path}, {plain(member.name, 100)}"):
                    file.write(block)
        count += 1
        if progress is not None:
            progress(count)
    return count


def _blocks(member: _Member, where: str) -> Iterator[bytes]:
    """The content of a member, block by block."""
    with _damage_reported(where):
        stream = member.open()
    with stream:
        left = member.size
        while True:
            with _damage_reported(where):
                block = stream.read(_BLOCK_BYTES)
            # Count down, so that a member that is longer or shorter than it declares is noticed.
            left -= len(block)
            if left < 0 or (not block and left):
                raise DataError(
                    f"{where}: the archive is damaged (it does not have the {member.size:,} "
                    f"bytes that it declares)"
                )
            if not block:
                return
            yield block


@contextmanager
def _damage_reported(where: str) -> Iterator[None]:
    try:
        yield
    # Already a sentence with the file's name; only errors of the decoders are wrapped.
    except CdmlLabError:
        raise
    except Exception as error:  # the type depends on where the damage is
        raise DataError(f"{where}: the archive is damaged ({cause(error, 150)})") from error


def _members(path: Path) -> Iterator[_Member]:
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    with opened(path, at_most=_LARGEST) as file:
        with _damage_reported(str(path)):
            head = file.read(_HEAD_BYTES)
            # "ustar" is the magic of POSIX and GNU headers;
            # older tars have none and are tried in the end.
            is_tar = head[257:262] == b"ustar" or head.startswith(tuple(_COMPRESSED))
            # A self-extracting zip does not begin with PK;
            # `is_zipfile` finds its directory at the end.
            is_zip = head[:2] == b"PK" or (not is_tar and zipfile.is_zipfile(file))
            size = file.seek(0, 2)
            file.seek(0)
        seen: set[str] = set()
        total = 0
        # A name that is both a file and a folder above another file cannot be unpacked.
        for member in _zip(file, path) if is_zip else _tar(file, head, path):
            if member.name in seen or any(
                str(above) in seen for above in PurePosixPath(member.name).parents
            ):
                raise DataError(
                    f"{path} is refused: it has {plain(member.name, 100)} twice, or as both "
                    f"a file and a folder"
                )
            seen.add(member.name)
            total += member.size
            # Small archives may compress at any ratio, large ones only as far as real data does.
            if total > max(_ROOM, _RATIO * size):
                raise DataError(
                    f"{path} is refused: its {size:,} bytes unpack to over {total:,}, "
                    f"which is implausible"
                )
            yield member


def _zip(file: IO[bytes], path: Path) -> Iterator[_Member]:
    with _damage_reported(str(path)):
        archive = zipfile.ZipFile(file)
    with archive:
        for member in archive.infolist():
            if member.is_dir():
                _inside(member.filename, path)
                continue
            name = _file_name(member.filename, path)
            if member.flag_bits & 1:  # bit 0: the member is encrypted
                raise DataError(
                    f"{path}, {plain(name, 100)}: it is locked with a password; unpack it yourself"
                )
            # The upper 16 bits of the external attributes are the Unix mode.
            if stat.S_ISLNK(member.external_attr >> 16):
                raise DataError(
                    f"{path}, {plain(name, 100)}: only files are unpacked, it is a link or a device"
                )
            yield _Member(name, member.file_size, partial(archive.open, member))


def _tar(file: IO[bytes], head: bytes, path: Path) -> Iterator[_Member]:
    kind = next((kind for start, kind in _COMPRESSED.items() if head.startswith(start)), None)
    with _damage_reported(str(path)):
        if kind is lzma.open:  # it allocates as much memory as the file declares, unless limited
            lzma.LZMADecompressor(memlimit=_ROOM).decompress(head, 1)
        size = file.seek(0, 2)
        file.seek(0)
        # Decompression is checked while tarfile reads, since the headers are compressed as well.
        content: Any = Bounded(kind(file) if kind else file, unpack_limit(size), path)
        try:
            archive = tarfile.open(fileobj=content, mode="r:")  # noqa: SIM115  (closed below)
        # Neither compressed nor a tar header: the file is of another kind, not a damaged archive.
        except tarfile.ReadError:
            if kind is None:
                raise DataError(f"{path} is neither a zip nor a tar archive") from None
            raise
    with archive:
        while True:  # not by getmembers(): there may be millions, all kept in memory
            with _damage_reported(str(path)):
                member = archive.next()
                # Otherwise `next` keeps every member that it has returned.
                archive.members.clear()  # type: ignore[attr-defined]
            if member is None:
                return
            if member.isdir():
                # Folders are created with the files in them,
                # but a folder outside is refused all the same.
                _inside(member.name, path)
                continue
            name = _file_name(member.name, path)
            if member.size < 0:
                raise DataError(
                    f"{path} is refused: {plain(name, 100)} declares {member.size:,} bytes"
                )
            if not member.isfile():
                raise DataError(
                    f"{path}, {plain(name, 100)}: only files are unpacked, it is a link or a device"
                )
            yield _Member(name, member.size, partial(_extracted, archive, member))


def unpack_limit(size: int) -> int:
    """The most bytes that a compressed file of `size` bytes may unpack to."""
    return max(2 * _ROOM, _RATIO * size)


class Bounded:
    """A stream for tarfile, which would allocate whatever length a header declares."""

    def __init__(self, stream: IO[bytes], most: int, path: Path) -> None:
        self._stream, self._most, self._path = stream, most, path
        self.tell = stream.tell

    def read(self, count: int = -1) -> bytes:
        # tarfile reads at most its own buffer at once,
        # unless a header declares a longer name or list.
        if not 0 <= count <= _BLOCK_BYTES:
            raise DataError(f"{self._path} is refused: it declares {count:,} bytes of metadata")
        return self._stream.read(count)

    def seek(self, position: int) -> int:
        # tarfile skips a member by seeking, which a compressed stream does by unpacking it.
        if position > self._most:
            raise DataError(
                f"{self._path} is refused: it unpacks to over {self._most:,} bytes, "
                f"which is implausible"
            )
        return self._stream.seek(position)


def _extracted(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    if stream is None:
        raise tarfile.TarError("it is not a file")
    return stream


def _inside(name: str, path: Path) -> str:
    """A member's name, checked to stay inside the target folder; empty for that folder itself."""
    if leads_outside(name):
        raise DataError(
            f"{path} is refused: its member {plain(name, 100)!r} leads outside the target folder"
        )
    slashed = name.replace("\\", "/")  # archives of Windows
    parts = PurePosixPath(slashed).parts
    longest = max((len(part.encode("utf-8", "surrogatepass")) for part in parts), default=0)
    if len(slashed) > _LONGEST_NAME or longest > _LONGEST_PART or len(parts) > _DEEPEST:
        raise DataError(
            f"{path} is refused: the name of its member {plain(name, 60)!r} is too long for a "
            f"file system"
        )
    return "/".join(parts)


def _file_name(name: str, path: Path) -> str:
    inside = _inside(name, path)
    if not inside:
        raise DataError(f"{path} is refused: a file in it has no name")
    return inside
