"""Waiting for another process, for as long as a busy machine may need."""

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
LIMIT_S = 600  # only a process that hangs takes as long


def until(
    condition: Callable[[], Found], process: "subprocess.Popen | None" = None, every_s: float = 0.05
) -> Found:
    """The truthy result of `condition`; fails if `process` ends first or the time is up."""
    end = time.monotonic() + LIMIT_S
    while True:
        code = None if process is None else process.poll()
        if result := condition():
            return result
        assert code is None, f"the process ended first, with code {code}"
        assert time.monotonic() < end, f"nothing happened in {LIMIT_S} s"
        time.sleep(every_s)
