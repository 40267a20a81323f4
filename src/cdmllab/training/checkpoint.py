"""Checkpoints on any number of processes: written atomically, verified before they are read.

A checkpoint is a folder ``checkpoints/step-00001200`` of safetensors and JSON, see
`cdmllab.training.shards`, with ``files.json``, which has the length and CRC-32 of every file.
Checksums detect damage. They do not protect against an attacker, who can write a checksum too.
"""

import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import torch.distributed as dist
from pydantic import NonNegativeInt

from cdmllab._util.files import opened, sync, write_text
from cdmllab.errors import CdmlLabError, DataError, cause, plain
from cdmllab.training import shards
from cdmllab.training.shards import State, Strict

FOLDER, CHECKSUMS = "checkpoints", "files.json"
FORMAT: Final = "cdmllab-files-1"
OLD = "an earlier version wrote it in a format that can run code when it is read, so it is not read"
_OLD_INDEX = ".metadata"  # of torch.distributed.checkpoint, a pickle
_SPARE = 16 << 20  # bytes allowed for headers and for tensors that are not read
_CHUNK = 1 << 20
# Eight digits, as written, or more in a very long run.
_STEP = re.compile(r"step-[0-9]{8,18}")


class Sum(Strict):
    """The expected length and checksum of a file."""

    bytes: NonNegativeInt
    crc32: NonNegativeInt


class Sums(Strict):
    """``files.json``."""

    format: Literal["cdmllab-files-1"]
    files: dict[str, Sum]


def save(run: Path, step: int, state: State, keep: int) -> None:
    """Write a checkpoint, then remove all but the newest `keep`; every rank calls it."""
    write(run / FOLDER / f"step-{step:08d}", state)
    with _together():
        if _first():
            for old in steps(run)[:-keep]:
                shutil.rmtree(old)


def write(target: Path, state: State) -> None:
    """Write a state as a folder; every rank calls it.

    Raises
    ------
    CdmlLabError, OSError : writing failed; all ranks raise the same, and `target` is unchanged
    """
    # Written under a hidden name, so that no reader finds half a checkpoint.
    aside = target.with_name(f".{target.name}.tmp")
    with _together():
        if _first():
            shutil.rmtree(aside, ignore_errors=True)  # left by a killed process
            aside.mkdir(parents=True)
    with _together():
        shards.write(aside, state)
    with _together():
        if _first():
            names = sorted(file.name for file in aside.iterdir())
            sums = Sums(format=FORMAT, files={name: _sum(aside / name) for name in names})
            write_text(aside / CHECKSUMS, sums.model_dump_json(indent=1) + "\n")
            # All is on disk before the rename: a power cut leaves a complete folder or none.
            sync(aside / CHECKSUMS)
            sync(aside)
            shutil.rmtree(target, ignore_errors=True)
            aside.rename(target)
            sync(target.parent)


def read(folder: Path, state: State) -> None:
    """Fill `state` in place from a folder; every rank calls it.

    Raises
    ------
    CdmlLabError : the folder is damaged, in an old format, or of another state
    """
    with _together():
        problem = damage(folder, shards.nbytes(state)) if _first() else ""
        if problem == OLD:
            raise _old(folder)
        if problem:
            raise DataError(f"{folder} is damaged ({problem})")
    with _together():
        shards.read(folder, state)


def require_bytes(folder: Path, count: int) -> None:
    """Raise unless the tensors of a folder may have so many bytes, before memory is taken for them.

    Raises
    ------
    DataError : the files are smaller, missing or in an old format
    """
    if os.path.lexists(folder / _OLD_INDEX):
        raise _old(folder)
    stored = sum(path.lstat().st_size for path in folder.glob("rank-*.safetensors"))
    if stored < count:
        raise DataError(
            f"{plain(folder, 200)} has tensors of {stored:,} bytes; at least {count:,} are needed"
        )


def load(run: Path, state: State, report: Callable[[str], None]) -> int | None:
    """Fill `state` in place from the newest intact checkpoint; return its step, or None.

    A damaged checkpoint is skipped, and `report` is called with its name and the damage. Every rank
    calls it.

    Raises
    ------
    CdmlLabError : all checkpoints are damaged or in an old format; or the newest is of another
        state
    """
    chosen: list[str | None] = [None]
    # The first rank chooses, so that all continue from the same step.
    with _together():
        if _first():
            chosen = [_newest(run, shards.nbytes(state), report)]
    if dist.is_initialized():
        dist.broadcast_object_list(chosen, src=0)
    if chosen[0] is None:
        return None
    with _together():
        shards.read(run / FOLDER / chosen[0], state)
    return int(chosen[0].removeprefix("step-"))


def steps(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    valid = [
        path
        for path in (run / FOLDER).glob("step-*")
        if _STEP.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]
    return sorted(valid, key=lambda path: int(path.name.removeprefix("step-")))


def damage(folder: Path, expected: int | None = None) -> str:
    """The damage of a checkpoint, in a few words; empty if it is intact.

    Parameters
    ----------
    folder : of the checkpoint
    expected : bytes of the state to be filled; a folder with far more is not read
    """
    if os.path.lexists(folder / _OLD_INDEX):
        return OLD
    try:
        sums = shards.parsed(folder / CHECKSUMS, Sums).files
        existing = {path.name for path in folder.iterdir() if shards.NAMES.fullmatch(path.name)}
    except (OSError, DataError):
        return f"{CHECKSUMS} is missing or unreadable"
    # Names first: nothing outside the folder may be opened, and no file may go unchecked.
    for name in sums:
        if not shards.NAMES.fullmatch(name):
            return f"{CHECKSUMS} names {plain(name, 60)}, which is not a file of a checkpoint"
    if unlisted := sorted(existing - sums.keys()):
        return f"{CHECKSUMS} does not name {unlisted[0]}"
    if shards.INDEX not in sums:
        return f"{shards.INDEX} is missing"
    # A checksum reads the entire file, so the sizes are judged before.
    if expected is not None and sum(one.bytes for one in sums.values()) > 2 * expected + _SPARE:
        return "its files are far larger than expected"
    return next(
        (problem for name, entry in sums.items() if (problem := _changed(folder / name, entry))),
        "",
    )


def _old(folder: Path) -> DataError:
    return DataError(
        f"{folder}: {OLD}; train again with --redo, or evaluate and export the network next to it"
    )


def _newest(run: Path, expected: int, report: Callable[[str], None]) -> str | None:
    """The name of the newest intact checkpoint."""
    checkpoints, problems = steps(run), set()
    for folder in reversed(checkpoints):
        problem = damage(folder, expected)
        if not problem:
            return folder.name
        problems.add(problem)
        report(
            f"{folder} is {'not read' if problem == OLD else 'damaged'} ({problem}): falling back "
            f"to the one before it"
        )
    if problems == {OLD}:
        raise DataError(f"{run / FOLDER}: {OLD}; remove that folder to start the run again")
    if checkpoints:
        raise DataError(f"every checkpoint in {run / FOLDER} is damaged: start a new run")
    return None


def _changed(path: Path, expected: Sum) -> str:
    """How a file differs from what is expected, in a few words; empty if it does not."""
    try:
        actual = _sum(path, expected.bytes)
    except DataError:
        return f"{path.name} is not a regular file of {expected.bytes:,} bytes"
    except OSError:
        return f"{path.name} is missing"
    return "" if actual == expected else f"{path.name} has changed"


def _sum(path: Path, at_most: int = 1 << 62) -> Sum:
    crc = size = 0
    with opened(path, at_most=at_most, links=False) as stream:
        # Asking for one byte more than allowed shows that a file is too long.
        while content := stream.read(min(_CHUNK, at_most - size + 1)):
            crc, size = zlib.crc32(content, crc), size + len(content)
            if size > at_most:
                break
    return Sum(bytes=size, crc32=crc)


def _first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


@contextmanager
def _together() -> Iterator[None]:
    """Synchronise all ranks at the end of the block; if one fails, all raise the same error.

    A rank that stopped alone would leave the others waiting. In one process an error is raised
    unchanged.
    """
    failed: Exception | None = None
    try:
        yield
    except Exception as error:
        if not dist.is_initialized():
            raise
        failed = error
    if dist.is_initialized():
        # All ranks exchange their errors, or None; waiting for them also synchronises the ranks.
        messages: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(messages, None if failed is None else cause(failed))
        complaints: dict[str, str] = {}
        for rank, text in enumerate(messages):
            if text is not None:
                # The same message from several ranks is reported once, with the first of them.
                complaints.setdefault(text, f"rank {rank}: {text}")
        if complaints:
            raise CdmlLabError("; ".join(complaints.values())) from failed
