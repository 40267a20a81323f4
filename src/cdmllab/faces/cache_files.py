"""The files of a world's cache: names, layout of the pixels, and the journal of finished chunks.

A cache is a folder of three files: ``world.json`` (the parameters that determine the pixels),
``images.u8`` (uint8, image after image, height x width x RGB) and ``done.jsonl`` (one line for each
finished chunk of images, with its CRC-32).
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cdmllab._util.files import append_line, read_journal

PARAMETERS, IMAGES, DONE = "world.json", "images.u8", "done.jsonl"
CHUNK = 512  # images; a killed process loses at most this many per worker

Pixels = NDArray[np.uint8]


class World(Protocol):
    """The part of a world of n images that the cache uses; see `cdmllab.faces.FaceWorld`."""

    size: int  # width and height of the images, in pixels
    num_identities: int
    device: torch.device  # where images are rendered

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Everything that determines the pixels, as JSON values."""

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


def array_shape(world: World) -> tuple[int, int, int, int]:
    """Shape of the array in ``images.u8``."""
    return (len(world), world.size, world.size, 3)


def chunks(world: World) -> Iterator[slice]:
    """The rows of every chunk, in order; the last one may be shorter than `CHUNK`."""
    return (slice(start, min(start + CHUNK, len(world))) for start in range(0, len(world), CHUNK))


def finished_chunks(world: World, folder: Path) -> dict[int, int]:
    """CRC-32 of every finished chunk, by its number.

    A chunk that extends past the end of a truncated ``images.u8`` does not count.
    """
    path, images = folder / DONE, folder / IMAGES
    if not path.exists() or not images.exists():
        return {}
    length, image_bytes = images.stat().st_size, 3 * world.size * world.size
    ends = [rows.stop * image_bytes for rows in chunks(world)]  # the byte after each chunk
    finished = {}
    for entry in read_journal(path):  # skips a last line that a kill cut short
        number, checksum = entry.get("chunk"), entry.get("crc32")
        if (
            type(number) is int
            and type(checksum) is int
            and 0 <= number < len(ends)
            and ends[number] <= length
        ):
            finished[number] = checksum
    return finished


def journal_line(number: int, checksum: int) -> str:
    """The line of ``done.jsonl`` for a chunk, without its line feed."""
    return json.dumps({"chunk": number, "crc32": checksum})


def append_finished(folder: Path, number: int, checksum: int) -> None:
    """Record that a chunk's pixels are on the disk; call it only after `write_chunk` returned."""
    append_line(folder / DONE, journal_line(number, checksum))


def write_chunk(world: World, folder: Path, rows: slice, pixels: Pixels) -> int:
    """Write a chunk's pixels to ``images.u8``, flush them, and return their CRC-32."""
    # A map of its own per call, so that threads and processes can write different chunks at once.
    target = np.memmap(folder / IMAGES, np.uint8, "r+", shape=array_shape(world))
    target[rows] = pixels
    target.flush()
    return zlib.crc32(pixels.tobytes())
