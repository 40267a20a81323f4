"""Download a file from the first mirror that has it: locked, resumed and checked.

A file gets its final name only when it is complete and correct.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cdmllab._util.build_lock import claimed
from cdmllab._util.files import read_record, sha256, sync, write_text
from cdmllab.data import sniff
from cdmllab.data.fetching import homes
from cdmllab.data.fetching.http import PATIENT, MirrorError, Patience, Progress
from cdmllab.data.registry import Mirror, RemoteFile
from cdmllab.errors import CdmlLabError, DataError

SPARE_BYTES = 64 << 20  # left free on the disk by a download


class Fetched(NamedTuple):
    """A downloaded file."""

    path: Path
    sha256: str
    mirror: str  # where it came from; empty if unknown, because it existed already
    was_there: bool  # nothing was downloaded


def fetch(
    file: RemoteFile,
    folder: Path,
    *,
    page: str = "",
    patience: Patience = PATIENT,
    report: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Download a file below `folder`, from the first of its mirrors that has the right one.

    An existing file is checked once and then recognised by its receipt, a hidden file next to it.
    An unfinished one is ``<name>.part``, and the same call resumes it. A complete one with the
    wrong hash is renamed to ``<name>.wrong-<hash>``.

    Parameters
    ----------
    file : its entry in the registry
    folder : the data folder
    page : where to get the file manually, for the message that no mirror has it
    patience : when to give up on a mirror
    report : called with a line for each mirror that is tried, and for each failure
    progress : called with the bytes received and the expected size

    Raises
    ------
    DataError : no mirror has it (the message gives the reason for each), or the existing file is
        another one
    CdmlLabError : another process is downloading it, or the disk has too little space (checked
        before the download)
    """
    target, log = folder / file.path, report or (lambda _: None)
    # Locked, so that two processes do not append to the same part.
    with claimed(target):
        if target.exists():
            return _existing(file, target)
        part = target.with_name(f"{target.name}.part")
        _check_room(file, target, part)
        failures: list[str] = []
        # The first mirror with the right file wins; a failure is noted, and the next one is tried.
        for mirror in file.mirrors:
            log(f"{target.name}: trying {mirror}")
            try:
                digest = _from_mirror(mirror, file, part, patience, progress)
            except MirrorError as error:
                failures.append(f"{mirror}: {error}")
                log(f"{target.name}: {failures[-1]}")
                continue
            # Rename only after the check, and sync the
            # folder: the name appears complete or not at all.
            part.replace(target)
            sync(target.parent)
            _remove_leftovers(part)
            _write_receipt(target, digest, str(mirror))
            return Fetched(target, digest, str(mirror), False)
    reasons = "; ".join(failures) or "no mirror is known"
    manually = f" Get it manually from {page} and save it as {target}" if page else ""
    raise DataError(f"{target.name} could not be fetched ({reasons}).{manually}")


def missing_bytes(file: RemoteFile, folder: Path) -> int:
    """The number of bytes still to download; 0 if the size is unknown."""
    target = folder / file.path
    if target.exists():
        return 0
    have = 0
    with suppress(FileNotFoundError):
        have = target.with_name(f"{target.name}.part").stat().st_size
    return max(0, file.size - have)


def free_bytes(folder: Path) -> int:
    """Free space on the disk of a folder, which need not exist yet."""
    place = folder.resolve()
    # Disk usage can only be asked of a folder that exists.
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _from_mirror(
    mirror: Mirror, file: RemoteFile, part: Path, patience: Patience, progress: Progress | None
) -> str:
    """Download the complete file to `part`, check it, and return its SHA-256."""
    # With a known hash a part from another mirror may be resumed, since a wrong mixture is noticed.
    known = file.sha256 is not None
    for again in (False, True):
        mixed = part.exists() and known
        homes.get(
            mirror,
            part,
            expected=file.bytes,
            any_origin=known,
            patience=patience,
            progress=progress,
        )
        try:
            return _checked(file, part)
        except MirrorError:
            if again or not mixed:
                raise
            # The beginning may have come from elsewhere: download all of it from this mirror.
            _remove_leftovers(part)
    raise AssertionError("one of the two rounds returns or raises")


def _checked(file: RemoteFile, path: Path) -> str:
    """Compare a complete file with its entry, and return its SHA-256; rename it if it is wrong."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(sniff.HEAD_BYTES)
    digest = sha256(path)
    wrong = ""
    # HTML in place of the file is named first, because its size and hash are wrong as well.
    if size == 0 or sniff.guess(head).startswith(("an HTML page", "nothing but zeros")):
        wrong = f"it sent {sniff.guess(head) or 'an empty file'}"
    elif file.bytes is not None and size != file.bytes:
        wrong = f"it sent {size:,} bytes, expected {file.bytes:,}"
    elif file.sha256 is not None and digest != file.sha256:
        wrong = f"its SHA-256 is {digest}, expected {file.sha256}"
    if not wrong:
        sync(path)
        return digest
    # Kept for inspection, under a name that no later run resumes.
    aside = path.with_name(f"{path.name.removesuffix('.part')}.wrong-{digest[:8]}")
    path.replace(aside)
    _remove_leftovers(path)
    raise MirrorError(f"{wrong}; renamed to {aside.name}")


def _existing(file: RemoteFile, target: Path) -> Fetched:
    """An existing file, recognised by its receipt or else checked."""
    status = target.stat()
    kept: dict[str, object] = {}
    with suppress(DataError):
        kept = read_record(_receipt(target))
    digest = kept.get("sha256")
    # Same size and time as when it was checked: hashing gigabytes again would teach nothing.
    if (
        kept.get("bytes") == status.st_size
        and kept.get("mtime_ns") == status.st_mtime_ns
        and isinstance(digest, str)
    ):
        return Fetched(target, digest, str(kept.get("mirror", "")), True)
    if file.bytes is not None and status.st_size != file.bytes:
        raise DataError(
            f"{target} has {status.st_size:,} bytes, expected {file.bytes:,}: move it away"
        )
    digest = sha256(target)
    if file.sha256 is not None and digest != file.sha256:
        raise DataError(f"{target} has SHA-256 {digest}, expected {file.sha256}: move it away")
    _write_receipt(target, digest, "")
    return Fetched(target, digest, "", True)


def _check_room(file: RemoteFile, target: Path, part: Path) -> None:
    needed = file.size - (part.stat().st_size if part.exists() else 0)
    free = free_bytes(target.parent)
    if needed > 0 and free < needed + SPARE_BYTES:
        raise CdmlLabError(
            f"{target} needs {needed:,} bytes more, but its disk has only {free:,} free: nothing "
            f"was downloaded"
        )


def _receipt(target: Path) -> Path:
    return target.with_name(f".{target.name}.fetched.json")


def _write_receipt(target: Path, digest: str, mirror: str) -> None:
    status = target.stat()
    facts = {
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "sha256": digest,
        "mirror": mirror,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    write_text(_receipt(target), json.dumps(facts, indent=1) + "\n")


def _remove_leftovers(part: Path) -> None:
    """Remove the files of a download that has ended."""
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.json").unlink(missing_ok=True)
    shutil.rmtree(part.with_name(f"{part.name}.hub"), ignore_errors=True)
