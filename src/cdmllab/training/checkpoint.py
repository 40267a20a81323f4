"""Checkpoints: written aside, renamed when whole, checked when read; on any number of processes.

A checkpoint is a folder ``checkpoints/step-00001200`` in the format of torch.distributed.checkpoint, which can be
loaded on another number of ranks, and in it ``files.json`` with the CRC-32 of every file.
"""

import json
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist

from cdmllab.errors import CdmlLabError, DataError
from cdmllab.files import read_json, write_text

FOLDER, CHECKSUMS = "checkpoints", "files.json"


def save(run: Path, step: int, state: dict[str, Any], keep: int) -> None:
    """Write the state of a step, then remove all but the newest `keep`; every rank calls it."""
    write(run / FOLDER / f"step-{step:08d}", state)
    if _first():
        for old in steps(run)[:-keep]:
            shutil.rmtree(old)
    _wait()


def write(target: Path, state: dict[str, Any]) -> None:
    """Write a state as a folder; every rank calls it."""
    from torch.distributed.checkpoint import state_dict_saver  # takes seconds
    from torch.distributed.checkpoint.filesystem import FileSystemWriter

    aside = target.with_name(f".{target.name}.tmp")
    if _first():
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    _wait()
    writer = FileSystemWriter(aside, sync_files=True)
    with _quietly():
        state_dict_saver.save(state, storage_writer=writer, no_dist=not dist.is_initialized())
    _wait()
    if _first():
        sums = {file.name: zlib.crc32(file.read_bytes()) for file in sorted(aside.iterdir())}
        write_text(aside / CHECKSUMS, json.dumps(sums, indent=1) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    _wait()


def read(folder: Path, state: dict[str, Any]) -> None:
    """Fill `state` in place from a folder.

    Raises
    ------
    CdmlLabError : the folder is damaged
    """
    problem = damage(folder)
    if problem:
        raise CdmlLabError(f"{folder} is damaged ({problem})")
    from torch.distributed.checkpoint import state_dict_loader  # takes seconds
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    with _quietly():
        state_dict_loader.load(state, storage_reader=FileSystemReader(folder), no_dist=not dist.is_initialized())


def load(run: Path, state: dict[str, Any], tell: Callable[[str], None]) -> int | None:
    """Fill `state` in place from the newest whole checkpoint; its step, or None where there is none.

    A checkpoint that is damaged is passed over, and `tell` is told which and why.

    Raises
    ------
    CdmlLabError : there are checkpoints, and all are damaged
    """
    found = steps(run)
    for folder in reversed(found):
        problem = damage(folder)
        if problem:
            tell(f"{folder} is damaged ({problem}): falling back to the one before")
            continue
        read(folder, state)
        return int(folder.name.removeprefix("step-"))
    if found:
        raise CdmlLabError(f"every checkpoint in {run / FOLDER} is damaged: the run has to start anew")
    return None


def steps(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted((run / FOLDER).glob("step-*"))


def damage(folder: Path) -> str:
    """What is wrong with a checkpoint, in a few words; empty when it is whole."""
    try:
        sums: dict[str, int] = read_json(folder / CHECKSUMS)
    except (OSError, DataError):
        return f"{CHECKSUMS} is missing or unreadable"
    for name, wanted in sums.items():
        try:
            content = (folder / name).read_bytes()
        except OSError:
            return f"{name} is missing"
        if zlib.crc32(content) != wanted:
            return f"{name} has changed"
    return ""


def _first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()


@contextmanager
def _quietly() -> Iterator[None]:
    """Without torch's reminder that one process is alone, which is meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.distributed is (disabled|unavailable).*")
        warnings.filterwarnings("ignore", message=".*TypedStorage is deprecated.*")
        yield
