"""The fingerprint of a run's data, which is stored in its record and compared later.

A fingerprint consists of the numbers of images and identities, a digest of all labels, and a digest
of the stored images. The latter covers all bytes of a set of up to `WHOLE_BYTES`. Of a larger set
it covers the size of each image and `SPREAD_BYTES` bytes of images spread evenly over the set.

So it changes if two people's folders are swapped, if a label is edited, and, in a set of up to half
a gigabyte, if a single pixel changes. In a larger set, an image that is replaced by one of the same
size in bytes is noticed only if it is one of those that are read.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdmllab._util.files import sha256
from cdmllab.data.packs import Pack
from cdmllab.data.sets import Subset, TrainingSet
from cdmllab.faces import FaceWorld
from cdmllab.faces.cache import CachedWorld

WHOLE_BYTES = 512 * 2**20  # takes about a second to read and hash
SPREAD_BYTES = 128 * 2**20
_CHUNK = 256  # images read at a time
_DECODED = 64  # images in the digest of decoded images
_RENDERED = 8  # images of a world whose mean levels are compared
_LEVELS = 0.5  # tolerance of a mean level, since devices round differently

_SAMPLE, _LABELS, _IMAGES, _HASHED = "sha256", "labels_sha256", "images_sha256", "images_hashed"
_MEANS, _START = "mean_levels", "start_from_sha256"


def fingerprint(source: TrainingSet, start_from: Path | None = None) -> dict[str, Any]:
    """The fingerprint of a training set and of the file of initial weights.

    A world of the face lab is determined by its parameters, which are in the config. Of its images
    only the mean levels of a few are stored, so that a cache and a new rendering compare as equal,
    whatever the device.
    """
    n = len(source)
    labels = np.ascontiguousarray(source.labels, dtype=np.int64)
    stored: dict[str, Any] = {
        "images": n,
        "identities": source.num_identities,
        _LABELS: hashlib.sha256(labels.tobytes()).hexdigest(),
    }
    if isinstance(source, CachedWorld | FaceWorld):
        images = source.read(_spread(n, _RENDERED))
        stored[_MEANS] = [round(float(image.mean()), 2) for image in images]
    else:
        # Of labels and decoded images, to notice if another version decodes them differently.
        sample = hashlib.sha256(labels.tobytes())
        sample.update(np.ascontiguousarray(source.read(_spread(n, _DECODED))).tobytes())
        digest, hashed = _images(source)
        stored |= {_SAMPLE: sample.hexdigest(), _IMAGES: digest, _HASHED: hashed}
    if start_from is not None and start_from.is_file():
        stored[_START] = sha256(start_from)
    return stored


def difference(kept: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The changes between two fingerprints, in words.

    Returns
    -------
    Empty if nothing has changed; None if they have no contents in common to compare, such as those
    of earlier versions, or of runs that ended before they stored one.
    """
    both = [key for key in kept if key in now]
    counts = [
        f"{now[key]:,} {noun} instead of {kept[key]:,}"
        for key, noun in (("images", "images"), ("identities", "identities"))
        if key in both and kept[key] != now[key]
    ]
    # Other counts explain every further difference, so they are reported alone.
    if counts:
        return ", ".join(counts)
    changed = [
        noun
        for key, noun in (
            (_LABELS, "labels"),
            (_IMAGES, "images"),
            (_START, "the weights in start_from"),
        )
        if key in both and kept[key] != now[key]
    ]
    if _MEANS in both and not _alike(kept[_MEANS], now[_MEANS]):
        changed.append("the rendering of the faces")
    # The sample contains labels and images, so it counts only if both of these are equal.
    if not changed and _SAMPLE in both and kept[_SAMPLE] != now[_SAMPLE]:
        changed.append("images as they are decoded" if _IMAGES in both else "labels or images")
    if changed:
        return " and ".join(changed)
    # Equal labels alone do not show that the images are the same.
    return "" if {_IMAGES, _MEANS, _SAMPLE} & set(both) else None


def _alike(kept: Sequence[float], now: Sequence[float]) -> bool:
    # `allclose` would fail where the numbers of levels differ.
    return len(kept) == len(now) and np.allclose(kept, now, rtol=0.0, atol=_LEVELS)


def _images(source: TrainingSet) -> tuple[str, int]:
    """A digest of the stored images, and the number of images whose bytes it covers."""
    digest = hashlib.sha256()
    n = len(source)
    sizes = _stored_sizes(source)
    digest.update(sizes.tobytes())
    total = int(sizes.sum())
    # In a large set, rows with about SPREAD_BYTES bytes together.
    rows = np.arange(n) if total <= WHOLE_BYTES else _spread(n, max(1, SPREAD_BYTES * n // total))
    for start in range(0, len(rows), _CHUNK):
        _add(digest, source, rows[start : start + _CHUNK])
    return digest.hexdigest(), len(rows)


def _stored_sizes(source: TrainingSet) -> NDArray[np.int64]:
    """The size of each stored image in bytes; in a pack including its frame."""
    if isinstance(source, Subset):
        return _stored_sizes(source.parent)[source.rows]
    if isinstance(source, Pack):
        # A record ends where the next one begins.
        sizes: NDArray[np.int64] = np.diff(np.append(source.file.offsets, source.file.size))
        return sizes[source.records]
    # Of all other sets the arrays that `read` returns are hashed; they have one size.
    each = source.read(np.arange(min(1, len(source)))).nbytes
    return np.full(len(source), each, dtype=np.int64)


def _add(digest: Any, source: TrainingSet, rows: NDArray[np.int64]) -> None:
    """Hash the stored bytes of some images; a pack's JPEGs are not decoded."""
    if isinstance(source, Subset):
        _add(digest, source.parent, source.rows[rows])
    elif isinstance(source, Pack):
        for row in rows.tolist():
            digest.update(source.image(row))
    else:
        digest.update(np.ascontiguousarray(source.read(rows)).tobytes())


def _spread(n: int, count: int) -> NDArray[np.int64]:
    """At most `count` rows of n, evenly spread, including the first and the last."""
    return np.unique(np.linspace(0, n - 1, min(count, n)).astype(np.int64))
