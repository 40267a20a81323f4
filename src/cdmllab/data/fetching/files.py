"""A file from the first mirror that gives it: locked, resumed, checked, and named only when it is
whole.
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

SPARE_BYTES = 64 << 20  # that a download leaves on the disk


class Fetched(NamedTuple):
    """A file that is there."""

    path: Path
    sha256: str
    mirror: str  # where it came from; empty for one that was there
    was_there: bool


def fetch(
    file: RemoteFile,
    folder: Path,
    *,
    page: str = "",
    patience: Patience = PATIENT,
    tell: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Have a file below `folder`, from the first of its mirrors that gives the right one.

    A file that is there is checked once and then known by its receipt, a hidden file next to it. A
    half-finished one is ``<name>.part``, and the same call goes on with it. A whole one with the
    wrong hash is kept aside as ``<name>.wrong-<hash>``.

    Parameters
    ----------
    file : as the registry has it
    folder : the data folder
    page : where a person can get the file, for when no mirror gives it
    tell : called with a line now and then
    progress : called with the bytes there and all of them

    Raises
    ------
    DataError : no mirror gives it, each with its reason; or what is there is another file
    CdmlLabError : another process fetches it, or there is too little space, said before the first
        byte
    """
    target, say = folder / file.path, tell or (lambda _: None)
    with claimed(target):
        if target.exists():
            return _there(file, target)
        part = target.with_name(f"{target.name}.part")
        _room(file, target, part)
        refused: list[str] = []
        for mirror in file.mirrors:
            say(f"{target.name}: asking {mirror}")
            try:
                digest = _from(mirror, file, part, patience, progress)
            except MirrorError as error:
                refused.append(f"{mirror}: {error}")
                say(f"{target.name}: {refused[-1]}")
                continue
            part.replace(target)
            sync(target.parent)
            _tidy(part)
            _write_receipt(target, digest, str(mirror))
            return Fetched(target, digest, str(mirror), False)
    tried = "; ".join(refused) or "no mirror is known"
    by_hand = f" By hand it can be had at {page}: put it there as {target}" if page else ""
    raise DataError(f"{target.name} could not be fetched ({tried}).{by_hand}")


def missing_bytes(file: RemoteFile, folder: Path) -> int:
    """How many bytes of a file are still to fetch, as far as its size is known."""
    target = folder / file.path
    if target.exists():
        return 0
    have = 0
    with suppress(FileNotFoundError):
        have = target.with_name(f"{target.name}.part").stat().st_size
    return max(0, file.size - have)


def free_bytes(folder: Path) -> int:
    """Of the disk on which a folder is, or will be."""
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _from(
    mirror: Mirror, file: RemoteFile, part: Path, patience: Patience, progress: Progress | None
) -> str:
    """The whole file in `part`, checked; its SHA-256."""
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
            _tidy(part)  # the beginning came from elsewhere: once more, all of it from here
    raise AssertionError("one of the two rounds returns or raises")


def _checked(file: RemoteFile, path: Path) -> str:
    """Compare a whole file with what is known of it; one that is another is kept aside."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(sniff.HEAD_BYTES)
    digest = sha256(path)
    wrong = ""
    if size == 0 or sniff.what(head).startswith(("an HTML page", "nothing but zeros")):
        wrong = f"it gave {sniff.what(head) or 'an empty file'}"
    elif file.bytes is not None and size != file.bytes:
        wrong = f"it gave {size:,} bytes, {file.bytes:,} are expected"
    elif file.sha256 is not None and digest != file.sha256:
        wrong = f"its SHA-256 is {digest}, {file.sha256} is expected"
    if not wrong:
        sync(path)
        return digest
    aside = path.with_name(f"{path.name.removesuffix('.part')}.wrong-{digest[:8]}")
    path.replace(aside)
    _tidy(path)
    raise MirrorError(f"{wrong}; kept aside as {aside.name}")


def _there(file: RemoteFile, target: Path) -> Fetched:
    """A file that is there already: by its receipt, or checked now."""
    about = target.stat()
    kept: dict[str, object] = {}
    with suppress(DataError):
        kept = read_record(_receipt(target))
    digest = kept.get("sha256")
    if (
        kept.get("bytes") == about.st_size
        and kept.get("mtime_ns") == about.st_mtime_ns
        and isinstance(digest, str)
    ):
        return Fetched(target, digest, str(kept.get("mirror", "")), True)
    if file.bytes is not None and about.st_size != file.bytes:
        raise DataError(
            f"{target} has {about.st_size:,} bytes, {file.bytes:,} are expected: move it away"
        )
    digest = sha256(target)
    if file.sha256 is not None and digest != file.sha256:
        raise DataError(f"{target} has SHA-256 {digest}, {file.sha256} is expected: move it away")
    _write_receipt(target, digest, "")
    return Fetched(target, digest, "", True)


def _room(file: RemoteFile, target: Path, part: Path) -> None:
    wanted = file.size - (part.stat().st_size if part.exists() else 0)
    free = free_bytes(target.parent)
    if wanted > 0 and free < wanted + SPARE_BYTES:
        raise CdmlLabError(
            f"{target} needs {wanted:,} bytes more, and its disk has {free:,} free: nothing was "
            f"fetched"
        )


def _receipt(target: Path) -> Path:
    return target.with_name(f".{target.name}.fetched.json")


def _write_receipt(target: Path, digest: str, mirror: str) -> None:
    about = target.stat()
    facts = {
        "bytes": about.st_size,
        "mtime_ns": about.st_mtime_ns,
        "sha256": digest,
        "mirror": mirror,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    write_text(_receipt(target), json.dumps(facts, indent=1) + "\n")


def _tidy(part: Path) -> None:
    """What belongs to a download that has ended."""
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.json").unlink(missing_ok=True)
    shutil.rmtree(part.with_name(f"{part.name}.hub"), ignore_errors=True)
