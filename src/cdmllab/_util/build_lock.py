"""A lock that lets one process at a time build a file or folder."""

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cdmllab._util.files import clear_leftovers
from cdmllab.errors import CdmlLabError, plain


@contextmanager
def claimed(target: Path) -> Iterator[None]:
    """Claim the file or folder `target` for building; a thread may claim again what it holds.

    The claim is a lock on a hidden file next to the target, which the system releases however the
    process ends. The file is removed with the block. After a kill the next claim removes it, and
    half-written files with it.

    Raises
    ------
    CdmlLabError : another process or thread is building it
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    file = target.parent.resolve() / f".{target.name}.lock"
    # One lock object for each file of this process, so that a thread can claim it again.
    lock = FileLock(file, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CdmlLabError(
            f"another process is building {plain(target, 200)}: wait for it to end"
        ) from None
    try:
        # The temporary names of `replacing`, whose random part has eight digits.
        clear_leftovers(target.parent.glob(f".{glob.escape(target.name)}.????????.tmp"))
        yield
    finally:
        if lock.lock_counter == 1:
            # Removed before the release: a waiting process that has it open notices and reopens.
            file.unlink(missing_ok=True)
        lock.release()
