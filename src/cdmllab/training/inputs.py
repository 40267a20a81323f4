"""What a run is trained on, as a fingerprint that is kept in its record and compared later.

A fingerprint holds the number of images and of identities, a digest of every label, and a digest of
the images as they are stored: all bytes of a set of up to `WHOLE_BYTES`. Of a larger one it holds
the size of every image and the bytes of images spread evenly over the set, `SPREAD_BYTES` in all.

So it changes when two people's folders are swapped, when a label is edited, and, in a set of up to
half a gigabyte, when a single pixel is. In a larger set an image that is replaced by one of exactly
as many bytes is noticed only if it is one of those that are read.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdmllab._util.files import sha256
from cdmllab.data.packs import Pack
from cdmllab.data.sets import Subset, TrainingSet
from cdmllab.faces import FaceWorld
from cdmllab.faces.cache import CachedWorld

WHOLE_BYTES = 512 * 2**20  # a second or so to read and hash
SPREAD_BYTES = 128 * 2**20
_CHUNK = 256  # images read at a time
_DECODED = 64  # images in the digest of decoded images
_RENDERED = 8  # images of a world that are looked at
_LEVELS = 0.5  # by which their mean may differ: devices round differently

_SAMPLE, _LABELS, _IMAGES, _HASHED = "sha256", "labels_sha256", "images_sha256", "images_hashed"
_MEANS, _START = "mean_levels", "start_from_sha256"


def fingerprint(source: TrainingSet, start_from: Path | None = None) -> dict[str, Any]:
    """The fingerprint of a training set, and of the file of weights that the training begins with.

    A world of the face lab follows from its parameters, which are in the config; of its images only
    the mean levels of a few are kept, so that a cache and a fresh rendering, on whatever device,
    compare as equal.
    """
    n = len(source)
    labels = np.ascontiguousarray(source.labels, dtype=np.int64)
    found: dict[str, Any] = {
        "images": n,
        "identities": source.num_identities,
        _LABELS: hashlib.sha256(labels.tobytes()).hexdigest(),
    }
    if isinstance(source, CachedWorld | FaceWorld):
        images = source.read(_spread(n, _RENDERED))
        found[_MEANS] = [round(float(image.mean()), 2) for image in images]
    else:
        # Of labels and decoded images: it also tells when another version decodes them differently.
        sample = hashlib.sha256(labels.tobytes())
        sample.update(np.ascontiguousarray(source.read(_spread(n, _DECODED))).tobytes())
        digest, hashed = _images(source)
        found |= {_SAMPLE: sample.hexdigest(), _IMAGES: digest, _HASHED: hashed}
    if start_from is not None and start_from.is_file():
        found[_START] = sha256(start_from)
    return found


def difference(kept: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """What has changed between two fingerprints, in words.

    Returns
    -------
    Empty where nothing has; None where they say nothing of contents that could be compared, as the
    records of earlier versions, or those of runs that broke off before they kept one.
    """
    both = [key for key in kept if key in now]
    counts = [
        f"{now[key]:,} {what} instead of {kept[key]:,}"
        for key, what in (("images", "images"), ("identities", "identities"))
        if key in both and kept[key] != now[key]
    ]
    if counts:
        return ", ".join(counts)
    changed = [
        what
        for key, what in (
            (_LABELS, "labels"),
            (_IMAGES, "images"),
            (_START, "the weights in start_from"),
        )
        if key in both and kept[key] != now[key]
    ]
    if _MEANS in both and not np.allclose(kept[_MEANS], now[_MEANS], rtol=0.0, atol=_LEVELS):
        changed.append("the rendering of the faces")
    if not changed and _SAMPLE in both and kept[_SAMPLE] != now[_SAMPLE]:
        changed.append("images as they are decoded" if _IMAGES in both else "labels or images")
    if changed:
        return " and ".join(changed)
    return "" if {_IMAGES, _MEANS, _SAMPLE} & set(both) else None


def _images(source: TrainingSet) -> tuple[str, int]:
    """A digest of the stored images, and of how many of them the bytes are in it."""
    found = hashlib.sha256()
    n = len(source)
    sizes = _stored_sizes(source)
    found.update(sizes.tobytes())
    total = int(sizes.sum())
    rows = np.arange(n) if total <= WHOLE_BYTES else _spread(n, max(1, SPREAD_BYTES * n // total))
    for start in range(0, len(rows), _CHUNK):
        _add(found, source, rows[start : start + _CHUNK])
    return found.hexdigest(), len(rows)


def _stored_sizes(source: TrainingSet) -> NDArray[np.int64]:
    """Bytes of each image as it is stored, in a pack with its frame."""
    if isinstance(source, Subset):
        return _stored_sizes(source.whole)[source.rows]
    if isinstance(source, Pack):
        sizes: NDArray[np.int64] = np.diff(np.append(source.file.offsets, source.file.size))
        return sizes[source.records]
    each = source.read(np.arange(min(1, len(source)))).nbytes
    return np.full(len(source), each, dtype=np.int64)


def _add(found: Any, source: TrainingSet, rows: NDArray[np.int64]) -> None:
    """Hash the stored bytes of some images: a pack's JPEGs are not decoded."""
    if isinstance(source, Subset):
        _add(found, source.whole, source.rows[rows])
    elif isinstance(source, Pack):
        for row in rows.tolist():
            found.update(source.image(row))
    else:
        found.update(np.ascontiguousarray(source.read(rows)).tobytes())


def _spread(n: int, count: int) -> NDArray[np.int64]:
    """At most `count` rows of n, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(count, n)).astype(np.int64))
