"""Let Python itself report processes that are started and files changed outside a folder."""

import os
import sys
from pathlib import Path
from typing import Any

_STARTS = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
}
_CHANGES = {
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.symlink",
    "os.link",
    "os.truncate",
    "os.chmod",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def watch(folder: Path) -> list[str]:
    """What happens from now on, as it happens; for as long as this process lives.

    Git, which the ledger asks, may be started, and Python, which reads MATLAB files and may keep
    what it has compiled.
    """
    seen: list[str] = []
    within = str(folder)

    def outside(path: object) -> bool:
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        return (
            bool(text) and not text.startswith(within) and ".pyc" not in text and text != os.devnull
        )

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STARTS and arguments[0] not in ("git", sys.executable):
            seen.append(f"{event} {arguments!r:.200}")
        elif (
            event == "open"
            and isinstance(arguments[2], int)
            and arguments[2] & _WRITES
            and outside(arguments[0])
        ):
            seen.append(f"wrote {arguments[0]}")
        elif event in _CHANGES and outside(arguments[0]) and "__pycache__" not in str(arguments[0]):
            seen.append(f"{event} {arguments[0]}")

    sys.addaudithook(hook)
    return seen
