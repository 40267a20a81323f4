"""A world's images in a memory map: rendered in parallel, resumed after a kill, checked when
opened.

A cache is a folder of three files: ``world.json`` (what the pixels follow from), ``images.u8``
(uint8, image after image, height x width x RGB) and ``done.jsonl`` (one line for each finished
chunk, with its CRC-32).
"""

import json
import multiprocessing
import shutil
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import ArrayLike, NDArray

from cdmllab._util.files import append_line, read_journal, read_record, write_text
from cdmllab._util.processes import GUARD, end_with_parent, refuse_while_imported
from cdmllab.errors import CdmlLabError, DataError, plain

PARAMETERS, PICTURES, DONE = "world.json", "images.u8", "done.jsonl"
CHUNK = 512  # images; what a kill can cost
_SPARE = 64 << 20  # left free on the disk
_PROBES = 3
_WRITERS = 4  # threads, while a device draws

Pixels = NDArray[np.uint8]


class World(Protocol):
    """What the cache asks of a world of n images; see `cdmllab.faces.FaceWorld`."""

    size: int  # of the images, in pixels
    num_identities: int
    device: torch.device  # where images are rendered

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the pixels follow from, as JSON has it."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Shape (n,)."""

    @property
    def true_labels(self) -> NDArray[np.int64]:
        """Shape (n,)."""

    @property
    def mislabelled(self) -> NDArray[np.bool_]:
        """Shape (n,)."""

    def __len__(self) -> int: ...

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """The images of some rows."""


W = TypeVar("W", bound=World)


class CachedWorld(Generic[W]):
    """A rendered world: a `FaceWorld` in all it knows, but images come from the disk."""

    def __init__(self, world: W, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.num_identities, self.labels = world.num_identities, world.labels
        self.true_labels, self.mislabelled = world.true_labels, world.mislabelled
        self._images = np.memmap(folder / PICTURES, np.uint8, "r", shape=_shape(world))

    def __len__(self) -> int:
        return len(self.world)

    def __repr__(self) -> str:
        return f"Cached{self.world!r}"

    def read(self, rows: ArrayLike) -> Pixels:
        """The images of some rows, in their order: uint8 of shape (rows, size, size, 3), RGB."""
        chosen: Pixels = self._images[np.atleast_1d(np.asarray(rows, dtype=np.int64))]
        return chosen

    def verify(self) -> None:
        """Read every image and compare with the checksums written next to them.

        Raises
        ------
        CdmlLabError : naming the first images that have changed
        """
        done = _finished(self.world, self.folder)
        for number, rows in enumerate(_chunks(self.world)):
            if zlib.crc32(self._images[rows].tobytes()) != done.get(number):
                raise CdmlLabError(
                    f"{self.folder / PICTURES}: images {rows.start} to {rows.stop - 1} are not "
                    f"what was rendered: "
                    f"remove the folder and render again"
                )


def fill(
    world: W,
    folder: Path,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    patience_s: float = 0.0,
) -> CachedWorld[W]:
    """Render what is missing in the cache of `world`, see `FaceWorld.cached`."""
    refuse_while_imported("FaceWorld.cached")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=patience_s)
    except Timeout:
        raise CdmlLabError(
            f"{folder} is being filled by another process: wait for it to end"
        ) from None
    with lock:
        _claim(world, folder)
        path, total = folder / PICTURES, int(np.prod(_shape(world)))
        done = _finished(world, folder)
        missing = [number for number in range(len(list(_chunks(world)))) if number not in done]
        if missing:
            _make_room(path, total)
            write_text(folder / DONE, "".join(_line(*entry) + "\n" for entry in done.items()))
            _render(world, folder, missing, workers, progress)
        cached = CachedWorld(world, folder)
        _probe(cached)
        return cached


def _shape(world: World) -> tuple[int, int, int, int]:
    return (len(world), world.size, world.size, 3)


def _chunks(world: World) -> Iterator[slice]:
    return (slice(start, min(start + CHUNK, len(world))) for start in range(0, len(world), CHUNK))


def _claim(world: World, folder: Path) -> None:
    path = folder / PARAMETERS
    if not path.exists():
        strangers = sorted(p.name for p in folder.iterdir() if p.name != ".lock")
        if strangers:
            raise CdmlLabError(
                f"{folder} is not a world's cache and not empty (it holds {strangers[0]}): name "
                f"another one"
            )
        write_text(path, json.dumps(world.parameters, indent=1) + "\n")
        return
    try:
        found = read_record(path)
    except DataError as error:
        raise CdmlLabError(f"{error}: remove the folder and render again") from None
    for name, wanted in world.parameters.items():
        if found.get(name) != wanted:
            raise CdmlLabError(
                f"{folder} is the cache of another world: its {name} is "
                f"{plain(found.get(name), 60)}, not {wanted}"
            )


def _finished(world: World, folder: Path) -> dict[int, int]:
    """Checksum of every chunk that is whole; what lies past the end of a truncated file does not
    count.
    """
    path, images = folder / DONE, folder / PICTURES
    if not path.exists() or not images.exists():
        return {}
    length, image = images.stat().st_size, 3 * world.size * world.size
    ends = [rows.stop * image for rows in _chunks(world)]
    done = {}
    for entry in read_journal(path):  # a line cut short by a kill is no record
        number, checksum = entry.get("chunk"), entry.get("crc32")
        if (
            type(number) is int
            and type(checksum) is int
            and 0 <= number < len(ends)
            and ends[number] <= length
        ):
            done[number] = checksum
    return done


def _line(number: int, checksum: int) -> str:
    return json.dumps({"chunk": number, "crc32": checksum})


def _make_room(path: Path, total: int) -> None:
    have = path.stat().st_size if path.exists() else 0
    used = (
        path.stat().st_blocks * 512 if have else 0
    )  # a file may have its length before it has its blocks
    free = shutil.disk_usage(path.parent).free
    if total - used + _SPARE > free:
        raise CdmlLabError(
            f"{path} needs {(total - used) / 1e9:.1f} GB more, and only {free / 1e9:.1f} GB are "
            f"free on this disk: "
            "choose a smaller world or size, or another folder"
        )
    with path.open("ab") as file:
        file.truncate(total)


def _render(
    world: World,
    folder: Path,
    missing: list[int],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    chunks = list(_chunks(world))
    ready = len(world) - sum(chunks[number].stop - chunks[number].start for number in missing)

    def finished(number: int, checksum: int) -> None:
        nonlocal ready
        append_line(folder / DONE, _line(number, checksum))
        ready += chunks[number].stop - chunks[number].start
        if progress is not None:
            progress(ready, len(world))

    if world.device.type != "cpu":
        with ThreadPoolExecutor(_WRITERS) as writers:  # the device goes on drawing meanwhile
            writing: deque[tuple[int, Future[int]]] = deque()
            for number in missing:
                pixels = world.read(_rows(chunks[number]))
                writing.append(
                    (number, writers.submit(_write_chunk, world, folder, chunks[number], pixels))
                )
                if len(writing) > _WRITERS:
                    done, future = writing.popleft()
                    finished(done, future.result())
            for done, future in writing:
                finished(done, future.result())
        return
    if workers <= 1 or len(missing) == 1:
        for number in missing:
            finished(number, _render_chunk(world, folder, chunks[number]))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(missing)), context, initializer=_start_worker
    ) as pool:
        waiting: dict[Future[int], int] = {
            pool.submit(_render_chunk, world, folder, chunks[n]): n for n in missing
        }
        try:
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    finished(waiting.pop(future), future.result())
        except BrokenProcessPool:
            raise CdmlLabError(
                f"a process that rendered into {folder} has ended: it was killed, the memory did "
                f"not suffice, "
                f"or your script starts its work outside its main guard. In that case {GUARD}"
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start_worker() -> None:
    end_with_parent()
    torch.set_num_threads(1)


def _render_chunk(world: World, folder: Path, rows: slice) -> int:
    """Render one chunk into the file; its checksum."""
    return _write_chunk(world, folder, rows, world.read(_rows(rows)))


def _rows(chunk: slice) -> NDArray[np.int64]:
    return np.arange(chunk.start, chunk.stop)


def _write_chunk(world: World, folder: Path, rows: slice, pixels: Pixels) -> int:
    target = np.memmap(folder / PICTURES, np.uint8, "r+", shape=_shape(world))
    target[rows] = pixels
    target.flush()
    return zlib.crc32(pixels.tobytes())


def _probe(cached: CachedWorld[Any]) -> None:
    """Render a few images again: a cache of another renderer must not pass for this one's."""
    rows = np.unique(np.linspace(0, len(cached) - 1, _PROBES).astype(np.int64))
    kept, fresh = cached.read(rows), cached.world.read(rows)
    off = (
        np.abs(kept.astype(np.int16) - fresh).reshape(len(rows), -1).mean(axis=1)
    )  # devices differ a little
    if off.max() > 0.5:
        raise CdmlLabError(
            f"{cached.folder} was rendered by another version: image {rows[off.argmax()]} "
            f"differs by "
            f"{off.max():.1f} levels a pixel from what is rendered now; remove the folder and "
            f"render again"
        )
