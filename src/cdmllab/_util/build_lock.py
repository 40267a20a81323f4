"""One process at a time builds at a place."""

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cdmllab._util.files import clear_leftovers
from cdmllab.errors import CdmlLabError, plain


@contextmanager
def claimed(target: Path) -> Iterator[None]:
    """Be the only one who builds the file or folder `target`; a thread that holds it may claim it
    again.

    While it is held, a hidden file next to the target is locked. The lock ends with the process,
    however that ends; the file goes with the block, or with the next one after a kill, as do files
    that were half-written.

    Raises
    ------
    CdmlLabError : another process, or another thread, builds there
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    file = target.parent.resolve() / f".{target.name}.lock"
    lock = FileLock(file, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CdmlLabError(
            f"another process is building {plain(target, 200)}: wait for it to end"
        ) from None
    try:
        clear_leftovers(target.parent.glob(f".{glob.escape(target.name)}.????????.tmp"))
        yield
    finally:
        if lock.lock_counter == 1:
            file.unlink(
                missing_ok=True
            )  # whoever has it open sees that it is gone, and locks a new one
        lock.release()
