"""Protocols by name: which pictures are compared, and how.

The table at the end joins a name to a function that loads it; a file of pictures and pairs is a protocol too.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cdmllab.data import digits, pairs
from cdmllab.data.pairs import Pairs
from cdmllab.errors import CdmlLabError
from cdmllab.evaluate.embedding import Pictures


class Templates(NamedTuple):
    """Which pictures are pooled to a template, see `cdmllab.metrics.templates.pool`; n pictures."""

    template: NDArray[np.int64]  # [n]
    media: NDArray[np.int64]  # [n]
    detector_score: NDArray[np.float64] | None = None  # [n]


@dataclass(frozen=True)
class Protocol:
    """Pictures, and the pairs of them that are to be judged.

    Raises
    ------
    ValueError : no pairs, pairs of one kind only, or arrays that do not fit the n pictures; the protocol is named
    """

    name: str
    images: Tensor | Pictures  # [n], as `cdmllab.evaluate.embed` takes them
    pairs: Pairs  # of rows of the pictures, or of template numbers where there are templates
    identity: NDArray[np.int64] | None = None  # [n] who is shown; intervals over identities need it
    templates: Templates | None = None
    mirror: bool = True  # does a mirrored picture show the same identity?
    nuisances: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)  # each [n], "yaw (degrees)" and the like

    def __post_init__(self) -> None:
        n, p = len(self.images), len(self.pairs.same)
        if p == 0:
            raise ValueError(f"protocol {self.name} has no pairs")
        if self.pairs.same.all() or not self.pairs.same.any():
            kind = "genuine" if self.pairs.same[0] else "impostor"
            raise ValueError(f"all {p:,} pairs of protocol {self.name} are {kind}: both kinds are needed")
        for key, array in zip(Pairs._fields, self.pairs, strict=True):
            if array.shape != (p,):
                raise ValueError(f"protocol {self.name}: {key} must have shape ({p},), got {array.shape}")
        per_picture = {"identity": self.identity, **self.nuisances}
        per_picture |= self.templates._asdict() if self.templates is not None else {}
        for key, values in per_picture.items():
            if values is not None and values.shape != (n,):
                raise ValueError(f"protocol {self.name}: {key} must have shape ({n},), got {values.shape}")
        rows = np.stack(self.pairs[:2])
        beyond = rows[(rows < 0) | (rows >= n)]
        if self.templates is None and len(beyond):
            raise ValueError(f"protocol {self.name}: a pair names picture {beyond[0]}, and there are only {n}")

    def nuisance_of_pairs(self, name: str, *, difference: bool = False) -> NDArray[np.float64]:
        """A nuisance of both pictures of each pair as one number: the larger size, or how far the two differ.

        Raises
        ------
        ValueError : the protocol does not know this nuisance, or its pairs are of templates
        """
        if name not in self.nuisances:
            known = ", ".join(self.nuisances) or "none"
            raise ValueError(f"protocol {self.name} has no nuisance {name!r}; it has {known}")
        if self.templates is not None:
            raise ValueError(f"the pairs of protocol {self.name} are of templates, and nuisances are of pictures")
        one, other = self.nuisances[name][self.pairs.first], self.nuisances[name][self.pairs.second]
        return np.abs(one - other) if difference else np.maximum(np.abs(one), np.abs(other))


Loader = Callable[[int | None], Protocol]
"""From the size in pixels of the network's input, None for the protocol's own, to the protocol."""


class Entry(NamedTuple):
    """A line of the table."""

    about: str
    load: Loader


def names() -> tuple[str, ...]:
    """The protocols that have a name."""
    return tuple(_TABLE)


def about(name: str) -> str:
    """What a protocol is, in half a sentence."""
    return _TABLE[name].about


def matching(patterns: Iterable[str]) -> list[str]:
    """The names that some patterns stand for (``lab/*``); files stay as they are. No name comes twice.

    Raises
    ------
    CdmlLabError : a pattern that is neither a file nor the name of a protocol
    """
    found: list[str] = []
    for pattern in patterns:
        some = [name for name in _TABLE if fnmatchcase(name, pattern)]
        if not some and Path(pattern).suffix in _READERS:
            some = [pattern]
        if not some:
            raise CdmlLabError(f"there is no protocol {pattern!r}; there are {', '.join(_TABLE)}, and .npz files")
        found += some
    return list(dict.fromkeys(found))


def load(name: str, size: int | None = None) -> Protocol:
    """Load a protocol, or a file of pictures and pairs.

    Parameters
    ----------
    name : as in `names`, or the path of an ``.npz`` file, see `read_npz`
    size : of the pictures in pixels, for protocols that come in more than one

    Raises
    ------
    CdmlLabError : there is no such protocol, or its data is missing
    """
    if name in _TABLE:
        return _TABLE[name].load(size)
    (name,) = matching([name])
    return _READERS[Path(name).suffix](Path(name))


def digest(name: str) -> str | None:
    """SHA-256 of a protocol that is a file; None for one that has a name."""
    return None if name in _TABLE else hashlib.sha256(Path(name).read_bytes()).hexdigest()


def read_npz(path: Path) -> Protocol:
    """A protocol from arrays: ``images``, ``first``, ``second`` and ``same``; ``fold`` and ``identity`` if there are.

    ``images`` are uint8 pictures, shape (n, height, width, 1 or 3); the others as in `Protocol`. Without folds all
    pairs are one, and no accuracy over folds is measured.

    Raises
    ------
    CdmlLabError : the file is missing, is no ``.npz``, or lacks an array; and as `Protocol`
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except FileNotFoundError:
        raise CdmlLabError(f"{path} does not exist") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CdmlLabError(f"{path} is not a readable .npz file: {error}") from error
    for key in ("images", "first", "second", "same"):
        if key not in arrays:
            raise CdmlLabError(f"{path} has no array {key!r}; it has {', '.join(arrays) or 'none'}")
    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise CdmlLabError(
            f"{path}: images must be uint8 of shape (n, height, width, 1 or 3), got {images.dtype} {images.shape}"
        )
    fold = arrays.get("fold", np.zeros(len(arrays["same"]), dtype=np.int64))
    drawn = Pairs(arrays["first"], arrays["second"], arrays["same"].astype(bool), fold)
    try:
        return Protocol(str(path), _InMemory(images), drawn, arrays.get("identity"))
    except ValueError as error:
        raise CdmlLabError(f"{path}: {error}") from error


class _InMemory:
    """An array as `Pictures`."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def read(self, rows: object) -> NDArray[np.uint8]:
        chosen: NDArray[np.uint8] = self._images[np.asarray(rows)]
        return chosen


def _digits_known(size: int | None) -> Protocol:
    _, held_out = digits.split(digits.load(range(7)))
    return _digits("digits/known", held_out)


def _digits_strangers(size: int | None) -> Protocol:
    return _digits("digits/strangers", digits.load([7, 8, 9]))


def _digits(name: str, part: digits.Digits) -> Protocol:
    identity = part.labels.numpy()
    return Protocol(name, part.images, pairs.sample(identity), identity, mirror=False)


_READERS: dict[str, Callable[[Path], Protocol]] = {".npz": read_npz}

_TABLE: dict[str, Entry] = {
    "digits/known": Entry("held-out pictures of the digits 0 to 6, 6,000 pairs", _digits_known),
    "digits/strangers": Entry("the digits 7, 8 and 9, for networks that were trained without them", _digits_strangers),
}
