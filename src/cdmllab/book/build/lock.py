"""A lock that allows one build at a time in a repository."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from filelock import FileLock, Timeout

from cdmllab._util.files import write_text
from cdmllab.book.build.layout import Layout
from cdmllab.errors import CdmlLabError


@contextmanager
def building(layout: Layout) -> Iterator[None]:
    """Lock the repository for a build.

    Raises
    ------
    CdmlLabError : another build is running; the message names its process and start time
    """
    layout.build.mkdir(parents=True, exist_ok=True)
    holder = layout.build / ".lock-holder"
    lock = FileLock(layout.build / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        owner = holder.read_text(encoding="utf-8") if holder.is_file() else "unknown"
        raise CdmlLabError(
            f"another build is running in this repository ({owner}): wait until it has finished"
        ) from None
    try:
        write_text(holder, f"process {os.getpid()}, since {datetime.now():%H:%M:%S}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
