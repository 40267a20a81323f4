"""Write files atomically, and read files that anybody may have written or damaged."""

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from cdmllab._util import safe_yaml
from cdmllab._util.nesting import DEEPEST, is_nested
from cdmllab.errors import DataError, plain, reading

_AT_WORK, _NEW_S = ".lock", 60.0  # the lock in a workshop, and seconds
# The temporary names of `replacing`, and those of checkpoints, which have no random part.
_LEFT = re.compile(r"\..+\.([0-9a-f]{8}\.)?tmp")
LARGEST_JOURNAL, LONGEST_LINE = 256 << 20, 1 << 20  # bytes
LARGEST_TEXT = 32 << 20  # bytes of a JSON or text file that is read into memory


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` when the block succeeds.

    After an error the temporary file is removed and `path` is unchanged.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Next to the target, because a rename cannot cross file systems.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def clear_leftovers(paths: Iterable[Path]) -> None:
    """Remove what a killed process left half-written; no other process may be writing there."""
    for path in paths:
        if _LEFT.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def sha256(path: Path) -> str:
    """The SHA-256 of a file, which is read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path | str, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_line(path: Path | str, line: str) -> None:
    """Append one line or nothing: a full disk leaves only complete lines.

    The file must have one writer at a time. A symbolic link is not followed.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o644)
    try:
        before = os.fstat(descriptor).st_size
        left = memoryview((line + "\n").encode())
        try:
            while left:  # a nearly full disk writes a part, and fails only on the next call
                left = left[os.write(descriptor, left) :]
        except BaseException:
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)


@contextmanager
def workshop(parent: Path, prefix: str) -> Iterator[Path]:
    """A temporary folder in `parent`; leftovers of killed processes with that prefix are removed.

    A running process holds a lock in its folder. A folder younger than a minute may not have its
    lock yet and is left alone.
    """
    for old in parent.glob(f"{prefix}*"):
        lock = FileLock(old / _AT_WORK)
        with suppress(OSError, Timeout):
            if old.is_symlink() or time.time() - old.stat().st_mtime < _NEW_S:
                continue
            with lock.acquire(timeout=0):
                shutil.rmtree(old)
    with TemporaryDirectory(dir=parent, prefix=prefix) as name, FileLock(Path(name) / _AT_WORK):
        yield Path(name)


def printable(name: str) -> str:
    r"""A file name as valid UTF-8 on one line; different names stay different.

    File systems store bytes. One that is not UTF-8 becomes ``\xfc``, a line break ``\x0a``, and a
    backslash is doubled.
    """
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(_escaped(character) for character in name)


def leads_outside(name: str) -> bool:
    """Whether an untrusted name leads out of a folder, on this system or on Windows."""
    slashed = name.replace("\\", "/")
    parts = PurePosixPath(slashed).parts
    # A colon in the first part is that of a Windows drive.
    return slashed.startswith("/") or ".." in parts or ":" in "".join(parts[:1]) or "\0" in slashed


def is_file(path: Path | str) -> bool:
    """Whether a path that comes from a file names a file; an impossible name does not."""
    try:
        return Path(path).is_file()
    except OSError:  # a name longer than the file system allows
        return False


def sync(path: Path | str) -> None:
    """Flush a file or folder to the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def opened(path: Path | str, *, at_most: int, links: bool = True) -> Iterator[BinaryIO]:
    """Open a regular file for reading; never a device or a pipe, whose content might not end.

    Parameters
    ----------
    path : of the file
    at_most : bytes it may have
    links : whether to follow a symbolic link to a regular file

    Raises
    ------
    DataError : it is not a regular file, or is larger
    OSError : it does not exist or cannot be opened
    """
    follow = 0 if links else os.O_NOFOLLOW
    # O_NOFOLLOW alone would fail with a message about too many levels of links.
    if not links and Path(path).is_symlink():
        raise DataError(f"{plain(path, 200)} is a link, not a regular file")
    # Without O_NONBLOCK, opening a pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | follow)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise DataError(f"{plain(path, 200)} is not a regular file")
        if about.st_size > at_most:
            raise DataError(
                f"{plain(path, 200)} has {about.st_size:,} bytes; {at_most:,} are allowed"
            )
        stream = os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
    with stream:
        yield stream


def read_bytes(
    path: Path | str, expected: str, *, at_most: int = LARGEST_TEXT, links: bool = True
) -> bytes:
    """The content of a regular file; `links` as in `opened`.

    `expected` describes a valid file, for errors: ``"readable YAML"``.

    Raises
    ------
    MissingError : there is no such file
    DataError : it cannot be read, is not a regular file, or has more than `at_most` bytes
    """
    with reading(path, expected), opened(path, at_most=at_most, links=links) as stream:
        size = os.fstat(stream.fileno()).st_size
        content = stream.read(size + 1)  # read() allocates what it is asked for
        if len(content) > size:  # files in /proc report a size of 0
            content += stream.read(at_most + 1)
        if len(content) > at_most:
            raise DataError(
                f"{plain(path, 200)} has more than the {at_most:,} bytes that are allowed"
            )
        return content


def read_text(path: Path | str, expected: str, *, at_most: int = LARGEST_TEXT) -> str:
    """The text of a regular UTF-8 file; raises as `read_bytes`."""
    content = read_bytes(path, expected, at_most=at_most)
    with reading(path, expected):
        return content.decode()


def read_json(path: Path | str, *, at_most: int = LARGEST_TEXT) -> Any:
    """The content of a JSON file of at most this many bytes.

    Raises
    ------
    MissingError : there is no such file
    DataError : it is not JSON in UTF-8, is nested too deeply, or cannot be read
    """
    text = read_text(path, "readable JSON", at_most=at_most)
    with reading(path, "readable JSON"):
        content = json.loads(text)
    if is_nested(content, deeper_than=DEEPEST):
        raise DataError(f"{plain(path, 200)} is nested more than {DEEPEST} deep")
    return content


def _escaped(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:  # a surrogate, by which Python represents a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    # Control characters, surrogates, line and paragraph separators.
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return f"\\x{code:02x}" if code < 128 else f"\\u{code:04x}"
    return character


def read_record(path: Path | str) -> dict[str, Any]:
    """The keys and values of a JSON file.

    Raises
    ------
    MissingError : there is no such file
    DataError : it is not a JSON object in UTF-8, or cannot be read
    """
    record = read_json(path)
    if not isinstance(record, dict):
        raise DataError(
            f"{plain(path, 200)} must contain keys and values, not a {type(record).__name__}"
        )
    return record


def read_journal(path: Path | str) -> Iterator[dict[str, Any]]:
    """The records of a file with one JSON object per line; malformed lines are skipped.

    A killed process may leave an incomplete last line.

    Raises
    ------
    MissingError : there is no such file
    DataError : it cannot be read, or is larger than any journal
    """
    for line in read_bytes(path, "a readable journal", at_most=LARGEST_JOURNAL).split(b"\n"):
        try:
            record = json.loads(line) if len(line) <= LONGEST_LINE else None
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def parse_yaml(text: str | bytes, where: str) -> Any:
    """Parse YAML by `cdmllab._util.safe_yaml`; `where` the text comes from is named in errors.

    Raises
    ------
    DataError : it is not YAML in UTF-8, or not plain values
    """
    return safe_yaml.parse(text, where)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Raises
    ------
    MissingError : there is no such file
    DataError : it is not YAML in UTF-8, holds something else, or cannot be read
    """
    values = parse_yaml(read_bytes(path, "readable YAML", at_most=safe_yaml.LARGEST), str(path))
    if not isinstance(values, dict):
        raise DataError(f"{plain(path, 200)} must contain keys and values")
    return values
