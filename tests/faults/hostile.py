"""A run folder as an attacker would send it, with a pickle in place of its files."""

import json
import os
import pickle
import shutil
import zlib
from pathlib import Path

from cdmllab import runs
from cdmllab.training import checkpoint


class Runs:
    """Unpickled, it writes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"echo it ran > {self.marker}",)


def evil(marker: Path) -> bytes:
    """A pickle that writes `marker` when anybody loads it."""
    return pickle.dumps(Runs(marker))


def checksums(folder: Path, *, old: bool) -> None:
    """Update ``files.json`` to match the current files, in the old or the current layout."""
    sums = {}
    for file in sorted(folder.iterdir()):
        if file.name != checkpoint.CHECKSUMS:
            crc = zlib.crc32(file.read_bytes())
            sums[file.name] = crc if old else {"bytes": file.stat().st_size, "crc32": crc}
    record = sums if old else {"format": checkpoint.FORMAT, "files": sums}
    (folder / checkpoint.CHECKSUMS).write_text(json.dumps(record))


def old_format(folder: Path, content: bytes) -> None:
    """The layout of torch.distributed.checkpoint: ``.metadata`` and plain values are pickles."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in (".metadata", "__0_0.distcp"):
        (folder / name).write_bytes(content)
    checksums(folder, old=True)


def every_file(folder: Path, content: bytes) -> None:
    """The current layout, with a pickle in place of each file."""
    for file in folder.iterdir():
        file.write_bytes(content)
    checksums(folder, old=False)


def add_file(folder: Path, content: bytes) -> None:
    """The current layout, intact, and a ``.metadata`` next to it."""
    (folder / ".metadata").write_bytes(content)
    checksums(folder, old=False)


def stopped(folder: Path) -> None:
    """Turn a finished run into a stopped one, with its weights as a checkpoint."""
    run = runs.Run.open(folder)
    run._write({**run.record, "status": "running"})
    shutil.move(folder / "head", folder / "checkpoints/step-00000005")
