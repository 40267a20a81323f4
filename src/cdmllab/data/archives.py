"""Reading zip and tar archives from strangers: no member may leave the folder it is unpacked into."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from cdmllab.errors import DataError
from cdmllab.files import replacing

_BLOCK_BYTES = 2**20
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError)


class _Member(NamedTuple):
    name: str
    size: int  # bytes
    open: Callable[[], IO[bytes]]


def members(path: Path | str, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files in an archive (zip, tar, tar.gz, ...), in its order.

    Parameters
    ----------
    path : the archive
    wanted : told each name; files for which it is false are passed over

    Raises
    ------
    DataError : no archive, a damaged one, a password, or a name that leads outside
    """
    for member in _members(Path(path)):
        if wanted(member.name):
            with _damage_told(f"{path}, {member.name}"), member.open() as stream:
                content = stream.read()
            yield member.name, content


def is_clutter(name: str) -> bool:
    """Whether a member is hidden, or what a Mac adds: ``__MACOSX``, and a ``._`` twin of every file."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def extract(path: Path | str, into: Path | str, *, progress: Callable[[int], None] | None = None) -> int:
    """Unpack an archive; files that are there already with the right size are kept, so it can be resumed.

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
                _copy(member, file, f"{path}, {member.name}")
        count += 1
        if progress is not None:
            progress(count)
    return count


def _copy(member: _Member, file: IO[bytes], where: str) -> None:
    with _damage_told(where):
        stream = member.open()
    with stream:
        while True:
            with _damage_told(where):
                block = stream.read(_BLOCK_BYTES)
            if not block:
                return
            file.write(block)


@contextmanager
def _damage_told(where: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"{where}: the archive is damaged ({error})") from error


def _members(path: Path) -> Iterator[_Member]:
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    with _damage_told(str(path)):
        read = _zip if zipfile.is_zipfile(path) else _tar if tarfile.is_tarfile(path) else None
    if read is None:
        raise DataError(f"{path} is neither a zip nor a tar archive")
    yield from read(path)


def _zip(path: Path) -> Iterator[_Member]:
    with _damage_told(str(path)):
        archive = zipfile.ZipFile(path)
    with archive:
        for member in archive.infolist():
            name = _inside(member.filename, path)
            if member.is_dir():
                continue
            if member.flag_bits & 1:
                raise DataError(f"{path}, {name}: it is locked with a password; unpack it by hand")
            yield _Member(name, member.file_size, partial(archive.open, member))


def _tar(path: Path) -> Iterator[_Member]:
    with _damage_told(str(path)):
        archive = tarfile.open(path)  # noqa: SIM115  (closed below)
    with archive:
        while True:
            with _damage_told(str(path)):
                member = archive.next()
            if member is None:
                return
            name = _inside(member.name, path)
            if member.isdir():
                continue
            if not member.isfile():
                raise DataError(f"{path}, {name}: it is a link or a device, only files are unpacked")
            yield _Member(name, member.size, partial(_opened, archive, member))


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    if stream is None:
        raise tarfile.TarError(f"{member.name} is no file")
    return stream


def _inside(name: str, path: Path) -> str:
    """A member's name, seen to stay inside the folder it is unpacked into."""
    plain = name.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    if plain.startswith("/") or ".." in parts or ":" in plain.split("/")[0] or "\0" in plain:
        raise DataError(f"{path} is refused: its member {name!r} leads outside the folder it would be unpacked into")
    return str(PurePosixPath(*parts)) if parts else "."
