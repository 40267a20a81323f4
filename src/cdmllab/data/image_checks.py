"""Decode all images of a file, in bounded time, and collect their sizes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdmllab.data.copies import ContentDigest
from cdmllab.data.decode import refuse_bomb
from cdmllab.errors import DataError


class Source(NamedTuple):
    """A file of many images."""

    name: str
    stored_bytes: Callable[[], int]  # of all its images
    key: Callable[[int], object]  # of an image; equal for one that is listed repeatedly


def decode_all(
    read: Callable[[int], NDArray[np.uint8]],
    name: Callable[[int], str],
    count: int,
    unread: dict[str, str],
    content: ContentDigest | None,
    source: Source | None,
    progress: Callable[[int, int], None] | None,
) -> dict[tuple[int, ...], int]:
    """Decode images, and count those of each size (height, width).

    Parameters
    ----------
    read, name : the pixels and the name of an image
    unread : gets the reason for each image that cannot be decoded
    content : gets the pixels of every other
    source : the file that has all images; None for images in files of their own
    progress : called with the number of images done and of all

    Raises
    ------
    DataError : the file lists the same images so often that their pixels are implausibly many
    """
    sizes: dict[tuple[int, ...], int] = {}
    decoded, failed = 0, dict[object, str]()
    for k in range(count):
        try:
            # An image that cannot be decoded is tried once, however often it is listed.
            if source is not None and (known := failed.get(source.key(k))):
                raise DataError(known)
            pixels = read(k)
            if content is not None:
                content.add(pixels)
            shape = pixels.shape[:2]
            sizes[shape] = sizes.get(shape, 0) + 1
            decoded += pixels.nbytes
        except DataError as error:
            unread[name(k)] = str(error)
            if source is not None:
                failed[source.key(k)] = str(error)
        except OSError as error:
            unread[name(k)] = f"{name(k)}: it cannot be read ({error.strerror or error})"
        if source is not None:
            refuse_bomb(source.name, decoded, source.stored_bytes)
        if progress is not None:
            progress(k + 1, count)
    return sizes


def orientation_problem(names: list[str]) -> list[str]:
    """The problem with images that have an EXIF orientation, by their names, if there are any."""
    if not names:
        return []
    return [
        f"{len(names):,} images have an EXIF orientation, the first is {names[0]}: in a pack or "
        f"bin some programs apply it and others ignore it; create the file again from the "
        f"original images"
    ]
