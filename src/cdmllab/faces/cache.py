"""A world's images in a memory map: rendered in parallel, resumed after a kill, checked on opening.

`cdmllab.faces.cache_files` describes the files, `cdmllab.faces.cache_render` renders them.
"""

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import ArrayLike

from cdmllab._util.files import read_record, write_text
from cdmllab._util.processes import refuse_while_imported
from cdmllab.errors import CdmlLabError, DataError, plain
from cdmllab.faces import cache_render
from cdmllab.faces.cache_files import (
    DONE,
    IMAGES,
    PARAMETERS,
    Pixels,
    World,
    array_shape,
    chunks,
    finished_chunks,
    journal_line,
)

_SPARE_BYTES = 64 << 20  # left free on the disk
_PROBES = 3  # images that are rendered again on opening

W = TypeVar("W", bound=World)


class CachedWorld(Generic[W]):
    """A world with the labels and identities of a `FaceWorld`, whose images are on the disk."""

    def __init__(self, world: W, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.num_identities, self.labels = world.num_identities, world.labels
        self.true_labels, self.mislabelled = world.true_labels, world.mislabelled
        self._images = np.memmap(folder / IMAGES, np.uint8, "r", shape=array_shape(world))

    def __len__(self) -> int:
        return len(self.world)

    def __repr__(self) -> str:
        return f"Cached{self.world!r}"

    def read(self, rows: ArrayLike) -> Pixels:
        """The images of some rows, in their order: uint8 of shape (rows, size, size, 3), RGB."""
        chosen: Pixels = self._images[np.atleast_1d(np.asarray(rows, dtype=np.int64))]
        return chosen

    def verify(self) -> None:
        """Read every image and compare it with the checksums recorded at rendering.

        Raises
        ------
        CdmlLabError : names the first images that have changed
        """
        checksums = finished_chunks(self.world, self.folder)
        for number, rows in enumerate(chunks(self.world)):
            if zlib.crc32(self._images[rows].tobytes()) != checksums.get(number):
                raise CdmlLabError(
                    f"{self.folder / IMAGES}: images {rows.start} to {rows.stop - 1} have changed "
                    f"since they were rendered: remove the folder and render again"
                )


def fill(
    world: W,
    folder: Path,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    patience_s: float = 0.0,
) -> CachedWorld[W]:
    """Render the missing images of a world's cache; see `FaceWorld.cached`."""
    refuse_while_imported("FaceWorld.cached")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=patience_s)
    except Timeout:
        raise CdmlLabError(f"another process is filling {folder}: wait until it ends") from None
    with lock:
        # In this order: the parameters are claimed before any pixel is written, and the journal is
        # read before the file gets its full length, in which a chunk never written is all zeros.
        _claim(world, folder)
        path, total_bytes = folder / IMAGES, int(np.prod(array_shape(world)))
        finished = finished_chunks(world, folder)
        missing = [number for number in range(len(list(chunks(world)))) if number not in finished]
        if missing:
            _make_room(path, total_bytes)
            # Rewritten without invalid lines, so that the next one starts on a line of its own.
            lines = (journal_line(*entry) + "\n" for entry in finished.items())
            write_text(folder / DONE, "".join(lines))
            cache_render.render_chunks(world, folder, missing, workers, progress)
        cached = CachedWorld(world, folder)
        _probe(cached)
        return cached


def _claim(world: World, folder: Path) -> None:
    """Record the world's parameters in a new cache, or compare them with those of an old one."""
    path = folder / PARAMETERS
    if not path.exists():
        others = sorted(p.name for p in folder.iterdir() if p.name != ".lock")
        if others:
            raise CdmlLabError(
                f"{folder} is not a world's cache and not empty (it contains {others[0]}): choose "
                f"another folder"
            )
        write_text(path, json.dumps(world.parameters, indent=1) + "\n")
        return
    try:
        recorded = read_record(path)
    except DataError as error:
        raise CdmlLabError(f"{error}: remove the folder and render again") from None
    for name, expected in world.parameters.items():
        if recorded.get(name) != expected:
            raise CdmlLabError(
                f"{folder} is the cache of another world: its {name} is "
                f"{plain(recorded.get(name), 60)}, not {expected}"
            )


def _make_room(path: Path, total_bytes: int) -> None:
    """Give the file its full length, if the disk has room for it."""
    # A sparse file can have its full length before any block of it is written, so count blocks.
    used = path.stat().st_blocks * 512 if path.exists() else 0
    free = shutil.disk_usage(path.parent).free
    if total_bytes - used + _SPARE_BYTES > free:
        raise CdmlLabError(
            f"{path} needs {(total_bytes - used) / 1e9:.1f} GB more, and only {free / 1e9:.1f} GB "
            f"are free on this disk: choose a smaller world or size, or another folder"
        )
    with path.open("ab") as file:
        file.truncate(total_bytes)


def _probe(cached: CachedWorld[Any]) -> None:
    """Render a few images again, so that the cache of another renderer version is rejected."""
    # The first, the middle and the last image.
    rows = np.unique(np.linspace(0, len(cached) - 1, _PROBES).astype(np.int64))
    kept, fresh = cached.read(rows), cached.world.read(rows)
    # A mean difference is tolerated: the pixels of CPU and GPU differ by a fraction of a level.
    difference = np.abs(kept.astype(np.int16) - fresh).reshape(len(rows), -1).mean(axis=1)
    if difference.max() > 0.5:
        raise CdmlLabError(
            f"{cached.folder} was rendered by another version: image {rows[difference.argmax()]} "
            f"differs by {difference.max():.1f} levels per pixel from the one rendered now; "
            f"remove the folder and render again"
        )
