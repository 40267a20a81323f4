"""Which copy of a bin or pack a file is: by its own hash, and by a digest of its pixels and labels.

One name is not one file. Three public ``cfp_fp.bin`` give the same AdaFace checkpoint 97.66, 99.24
and 99.34 %. The hash of the file recognises a copy at once; the digest of decoded pixels and labels
stays the same when a copy is pickled again or converted to ``.npz``, and so distinguishes new data
from new packaging. The registry of data sets has both; digests are added when somebody has decoded
the copy.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab.data import bins, registry


class Copy(NamedTuple):
    """A known copy."""

    name: str  # of the set, as its file is called
    sha256: str  # of the file; a beginning of eight digits or more where no more is reported
    bytes: int | None
    content_sha256: str | None  # see `ContentDigest`
    note: str
    odd: bool  # it gives other numbers than most


REGISTER: tuple[Copy, ...] = tuple(
    Copy(name, **copy.model_dump())
    for data_set in registry.load().sets.values()
    for name, known in data_set.copies.items()
    for copy in known
)


class ContentDigest:
    """SHA-256 over decoded images and labels, image by image.

    Each image counts with its shape and its pixels (RGB, uint8), then all labels as int64. So the
    same pixels give the same digest as JPEG or not, in whatever container; a pack and a bin of the
    same images differ by their labels.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Add an image of shape (height, width, 1 or 3); grey counts as three equal channels."""
        rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        self._hash.update(f"{rgb.shape[0]}x{rgb.shape[1]}".encode())
        self._hash.update(np.ascontiguousarray(rgb).tobytes())

    def finish(self, labels: ArrayLike) -> str:
        """Add the labels and return the digest."""
        self._hash.update(np.asarray(labels, dtype="<i8").tobytes())
        return self._hash.hexdigest()


def content(images: Iterable[NDArray[np.uint8]], labels: ArrayLike) -> str:
    """The digest of images, each (height, width, 1 or 3), and labels; in bins, the pairs' flags."""
    digest = ContentDigest()
    for image in images:
        digest.add(image)
    return digest.finish(labels)


def of_bin(source: bins.Bin) -> str:
    """The digest of a verification bin's pixels and labels."""
    return content((source.image(k) for k in range(len(source.images))), source.same)


def find(file_digest: str | None = None, content_digest: str | None = None) -> Copy | None:
    """The known copy with this hash of its file, or this digest of its content."""
    for copy in REGISTER:
        # The registry may have only the beginning of a hash.
        if file_digest is not None and file_digest.startswith(copy.sha256):
            return copy
        if content_digest is not None and copy.content_sha256 == content_digest:
            return copy
    return None


def describe(path: Path, file_digest: str, content_digest: str | None) -> str:
    """Describe a copy for a message; if it is unknown, how many of its name are known."""
    copy = find(file_digest, content_digest)
    if copy is not None:
        # The same pixels in a file with another hash: somebody pickled or converted them again.
        packed = "" if file_digest.startswith(copy.sha256) else ", packed anew"
        return f"{'ODD, ' if copy.odd else ''}{copy.name} {copy.sha256[:8]}{packed}: {copy.note}"
    known = sum(one.name == path.stem for one in REGISTER)
    return (
        f"unknown; it is none of the {known} known copies of {path.stem}"
        if known
        else "none of its name is known"
    )
