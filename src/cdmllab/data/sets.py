"""Training sets: images with identities, read by row number."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab._util.files import replacing
from cdmllab.errors import DataError

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
LARGEST_LABEL = 2**24  # whole numbers up to here are exact in float32, the type of labels in packs


class TrainingSet(Protocol):
    """n images of one size with labels 0 .. num_identities - 1."""

    @property
    def num_identities(self) -> int:
        """The number of identities."""

    @property
    def labels(self) -> Labels:
        """The identity of each image, shape (n,)."""

    def __len__(self) -> int: ...

    def read(self, rows: ArrayLike) -> Pixels:
        """The images of some rows, in that order: uint8 (rows, height, width, 1 or 3), RGB."""


class ArraySet:
    """Images in memory, or in a mapped array file.

    Parameters
    ----------
    images : uint8, shape (n, height, width, 1 or 3)
    labels : shape (n,)
    num_identities : default: the largest label + 1
    names : of the identities, if they have names
    """

    def __init__(
        self,
        images: Pixels,
        labels: ArrayLike,
        num_identities: int | None = None,
        names: Sequence[str] = (),
    ) -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
            raise ValueError(
                f"images must be uint8 of shape (n, height, width, 1 or 3), got {images.dtype} "
                f"{images.shape}"
            )
        self.images = images
        self.labels = checked(labels, num_identities, "the labels")
        if len(self.labels) != len(images):
            raise ValueError(f"{len(images):,} images and {len(self.labels):,} labels do not match")
        # Without images there are 0 identities.
        self.num_identities = num_identities or int(self.labels.max(initial=-1)) + 1
        self.names = tuple(names)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return (
            f"ArraySet({len(self):,} images of {self.num_identities:,} identities, "
            f"{self.images.shape[1:]})"
        )

    def read(self, rows: ArrayLike) -> Pixels:
        chosen: Pixels = self.images[np.asarray(rows, dtype=np.int64)]
        return chosen


class Subset:
    """Some rows of a training set; the remaining identities are renumbered from 0 in their order.

    Attributes
    ----------
    parent : the original set
    rows : rows of it, shape (n,)
    identities : the old label of each new one, shape (num_identities,)
    """

    def __init__(self, parent: TrainingSet, rows: ArrayLike) -> None:
        self.parent = parent
        self.rows = np.asarray(rows, dtype=np.int64)
        if len(self.rows) and not 0 <= self.rows.min() <= self.rows.max() < len(parent):
            raise ValueError(
                f"the rows must lie in 0 .. {len(parent) - 1}, got {self.rows.min()} .. "
                f"{self.rows.max()}"
            )
        # `np.unique` sorts, so the remaining identities keep their order.
        self.identities, labels = np.unique(parent.labels[self.rows], return_inverse=True)
        self.labels = labels.astype(np.int64)
        self.num_identities = len(self.identities)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return (
            f"Subset({len(self):,} images of {self.num_identities:,} identities of {self.parent!r})"
        )

    def read(self, rows: ArrayLike) -> Pixels:
        return self.parent.read(self.rows[np.asarray(rows, dtype=np.int64)])


def without(parent: TrainingSet, identities: ArrayLike) -> Subset:
    """All images but those of some identities, for training when these are in the test set."""
    return Subset(parent, np.flatnonzero(~np.isin(parent.labels, np.asarray(identities))))


def at_least(parent: TrainingSet, images: int) -> Subset:
    """The identities with at least `images` images."""
    counts = np.bincount(parent.labels, minlength=parent.num_identities)
    return Subset(parent, np.flatnonzero(counts[parent.labels] >= images))


def at_most(parent: TrainingSet, images: int, seed: int = 0) -> Subset:
    """At most `images` random images of every identity, in the original order."""
    order = np.random.default_rng(seed).permutation(len(parent))
    # The first images of each identity in a random order are a random sample of them.
    return Subset(parent, np.sort(order[occurrence(parent.labels[order]) < images]))


def occurrence(labels: ArrayLike) -> Labels:
    """How often each label has occurred before, shape (n,): 0 the first time, then 1."""
    given = np.asarray(labels)
    order = np.argsort(given, kind="stable")
    ordered = given[order]
    before = np.empty(len(given), dtype=np.int64)
    # In sorted order, the position within a label is the distance to the label's first position.
    before[order] = np.arange(len(given)) - np.searchsorted(ordered, ordered)
    return before


def decoded(
    parent: TrainingSet,
    path: Path | str,
    *,
    batch: int = 256,
    progress: Callable[[int], None] | None = None,
) -> ArraySet:
    """Decode a set once into an array file, and read it from there from then on.

    A 112 x 112 colour image takes 37,632 bytes: CASIA-WebFace 18.5 GB, MS1MV3 195 GB.

    Parameters
    ----------
    path : the ``.npy`` file; reused if its shape and a sample of its images match
    batch : images decoded at a time
    progress : called with the number of images done

    Raises
    ------
    DataError : the file at `path` belongs to another set
    """
    target = Path(path)
    first = parent.read(np.arange(min(1, len(parent))))
    shape = (len(parent), *first.shape[1:])
    # Written once under a temporary name, so that a file at `target` is always complete.
    if not target.exists():
        with replacing(target) as temporary:
            pixels = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            for start in range(0, len(parent), batch):
                rows = np.arange(start, min(start + batch, len(parent)))
                pixels[rows] = parent.read(rows)
                if progress is not None:
                    progress(int(rows[-1]) + 1)
            pixels.flush()  # before the file gets its name
    kept = np.load(target, mmap_mode="r", allow_pickle=False)
    if kept.shape != shape or kept.dtype != np.uint8:
        raise DataError(
            f"{target} contains {kept.dtype} {kept.shape}, this set needs uint8 {shape}: remove it"
        )
    # Sixteen images spread over the set suffice to notice a file of other images.
    some = np.linspace(0, len(parent) - 1, min(len(parent), 16), dtype=np.int64)
    if not np.array_equal(kept[some], parent.read(some)):
        raise DataError(f"{target} contains other images than this set: remove it")
    return ArraySet(kept, parent.labels, parent.num_identities)


def checked(labels: ArrayLike, num_identities: int | None, where: str) -> Labels:
    """Labels as int64, each checked to be an integer in 0 .. num_identities - 1.

    Raises
    ------
    DataError : names the first label that is not
    """
    given = np.asarray(labels)
    wrong = np.zeros(given.shape, dtype=bool)
    # Labels from packs are float32; they count only if they are whole and exact.
    if given.dtype.kind == "f":
        wrong = ~(np.abs(given) <= LARGEST_LABEL) | (
            given != np.round(given)
        )  # also NaN and infinity
    # -1 marks them, since NaN has no integer.
    integers = np.where(wrong, -1, given).astype(np.int64)
    wrong |= integers < 0
    if num_identities is not None:
        wrong |= integers >= num_identities
    # A pack would round larger labels, see `LARGEST_LABEL`.
    wrong |= integers > LARGEST_LABEL
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        allowed = f"0 .. {(num_identities or LARGEST_LABEL + 1) - 1:,}"
        raise DataError(
            f"{where}: label {given[row]:g} of image {row} is not a whole number in {allowed}"
        )
    return integers
