"""Reading zip and tar archives from strangers: no member may leave the folder it is unpacked into."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from cdmllab.errors import DataError
from cdmllab.files import replacing

LARGEST_MEMBER_BYTES = 2**36
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError)


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
    for name, stream in _streams(Path(path)):
        if wanted(name):
            try:
                yield name, stream().read()
            except _DAMAGE as error:
                raise DataError(f"{path}, {name}: the archive is damaged ({error})") from error


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
    """
    into, count = Path(into), 0
    for name, content in members(path):
        target = into / name
        if not target.is_file() or target.stat().st_size != len(content):
            with replacing(target) as temporary:
                temporary.write_bytes(content)
        count += 1
        if progress is not None:
            progress(count)
    return count


def _streams(path: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    try:
        if zipfile.is_zipfile(path):
            yield from _zip(path)
        elif tarfile.is_tarfile(path):
            yield from _tar(path)
        else:
            raise DataError(f"{path} is neither a zip nor a tar archive")
    except _DAMAGE as error:
        raise DataError(f"{path}: the archive is damaged ({error})") from error


def _zip(path: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = _inside(member.filename, path)
            if member.is_dir():
                continue
            if member.flag_bits & 1:
                raise DataError(f"{path}, {name}: it is locked with a password; unpack it by hand")
            _not_huge(member.file_size, name, path)
            yield name, lambda member=member: archive.open(member)  # type: ignore[misc]


def _tar(path: Path) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    with tarfile.open(path) as archive:
        for member in archive:
            name = _inside(member.name, path)
            if member.isdir():
                continue
            if not member.isfile():
                raise DataError(f"{path}, {name}: it is a link or a device, only files are unpacked")
            _not_huge(member.size, name, path)
            yield name, lambda member=member: _opened(archive, member)  # type: ignore[misc]


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


def _not_huge(size: int, name: str, path: Path) -> None:
    if size > LARGEST_MEMBER_BYTES:
        raise DataError(f"{path}, {name}: {size:,} bytes are too many")
