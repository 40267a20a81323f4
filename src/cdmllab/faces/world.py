"""A world of faces: a training set whose identities, nuisances and wrong labels are known."""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdmllab.faces import hashing, identity, nuisance
from cdmllab.faces.cache import CachedWorld, fill
from cdmllab.faces.render import SIZES, render_latents

# The first identity that is reserved for protocols, so that nobody tested is ever trained on.
RESERVED = 1_000_000


class FaceWorld:
    """A training set of rendered people, whose images are rendered when they are read.

    It has the interface of `cdmllab.data.sets.TrainingSet`: ``labels``, ``num_identities``, ``len``
    and ``read(rows)``. Row r is image ``r % images_per_identity`` of identity
    ``r // images_per_identity``.

    Parameters
    ----------
    num_identities, images_per_identity : the number of people, and of images per person
    size : width and height in pixels, in [32, 224]
    strength : scale of the nuisances, in [0, 1]
    label_noise : share of images with the label of somebody else, in [0, 1]
    seed : different seeds give different people
    first : number of the first identity; worlds with disjoint ranges share nobody
    without : nuisance factors that are set to 0, see `cdmllab.faces.FACTORS`
    device : where to render

    Raises
    ------
    ValueError : a value out of range

    Examples
    --------
    >>> world = FaceWorld(num_identities=2, images_per_identity=3, size=32)
    >>> world.labels.tolist()
    [0, 0, 0, 1, 1, 1]
    >>> world.read([0, 5]).shape
    (2, 32, 32, 3)
    """

    def __init__(
        self,
        num_identities: int,
        images_per_identity: int,
        *,
        size: int = 112,
        strength: float = 0.65,
        label_noise: float = 0.0,
        seed: int = 0,
        first: int = 0,
        without: Sequence[str] = (),
        device: str | torch.device = "cpu",
    ) -> None:
        nuisance.check_factors(dict.fromkeys(without))
        integers = {
            "num_identities": num_identities,
            "images_per_identity": images_per_identity,
            "size": size,
            "seed": seed,
            "first": first,
        }
        for name, value in integers.items():
            if not isinstance(value, int) or isinstance(value, bool):  # a bool is an int
                raise ValueError(f"{name} must be a whole number, got {value!r}")
        if num_identities < 2 or images_per_identity < 1:
            raise ValueError(
                "a world needs at least 2 identities with at least 1 image each, "
                f"got {num_identities} x {images_per_identity}"
            )
        if not SIZES[0] <= size <= SIZES[1]:
            raise ValueError(f"size must lie in [{SIZES[0]}, {SIZES[1]}] pixels, got {size}")
        for name, share in (("strength", strength), ("label_noise", label_noise)):
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name} must lie in [0, 1], got {share}")
        # People from `RESERVED` on are those of the protocols.
        if not 0 <= first <= first + num_identities <= RESERVED:
            raise ValueError(
                f"identities {first:,} to {first + num_identities - 1:,} are not all in the range "
                f"0 to {RESERVED - 1:,}; those above are reserved for protocols"
            )
        self.num_identities, self.images_per_identity = num_identities, images_per_identity
        self.size, self.strength, self.label_noise = size, float(strength), float(label_noise)
        self.seed, self.first, self.device = seed, first, torch.device(device)
        self.without = tuple(without)

    def __len__(self) -> int:
        return self.num_identities * self.images_per_identity

    def __repr__(self) -> str:
        noise = f", {self.label_noise:.0%} wrong labels" if self.label_noise else ""
        noise += f", without {' and '.join(self.without)}" if self.without else ""
        return (
            f"FaceWorld({len(self):,} images of {self.num_identities:,} identities, "
            f"{self.size} px, strength {self.strength:g}{noise}, seed {self.seed})"
        )

    @property
    def parameters(self) -> dict[str, int | float | list[str]]:
        """Everything that determines the pixels and labels."""
        names = (
            "num_identities",
            "images_per_identity",
            "size",
            "strength",
            "label_noise",
            "seed",
            "first",
        )
        values = {name: getattr(self, name) for name in names}
        # Only if not empty: caches and run records from before this option existed stay valid.
        return values | ({"without": list(self.without)} if self.without else {})

    @functools.cached_property
    def true_labels(self) -> NDArray[np.int64]:
        """The person in each image, counted from 0; shape (n,)."""
        return np.repeat(np.arange(self.num_identities), self.images_per_identity)

    @functools.cached_property
    def labels(self) -> NDArray[np.int64]:
        """The label of each image, equal to `true_labels` except for label noise; shape (n,)."""
        # Hashed per image, so that a label does not depend on which images are read.
        who, index = self._counters(np.arange(len(self)))
        draws = hashing.uniform(hashing.key(self.seed, 0x1AB, who, index), 2).numpy()
        # One draw decides whether a label is wrong and another which it is. More label noise thus
        # keeps the labels that are already wrong.
        # From 1 to c - 1, so that a wrong label differs from the true one; a draw may be exactly 1.
        others = self.num_identities - 1
        step = 1 + np.minimum((draws[:, 1] * others).astype(np.int64), others - 1)
        wrong = (self.true_labels + step) % self.num_identities
        return np.where(draws[:, 0] < self.label_noise, wrong, self.true_labels)

    @property
    def mislabelled(self) -> NDArray[np.bool_]:
        """Which images have a wrong label; shape (n,)."""
        different: NDArray[np.bool_] = self.labels != self.true_labels
        return different

    def nuisances(self, rows: ArrayLike) -> nuisance.Nuisances:
        """The nuisances of some rows."""
        who, index = self._counters(rows)
        off = dict.fromkeys(self.without, 0.0)
        return nuisance.nuisances(
            self.seed, who.to(self.device), index.to(self.device), strength=self.strength, **off
        )

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """The images of some rows, in their order: uint8 of shape (rows, size, size, 3), RGB."""
        who, _ = self._counters(rows)
        # Everything follows from person and index, so any rows can be rendered in any order.
        vectors = identity.latents(self.seed, who.to(self.device))
        images = render_latents(vectors, self.nuisances(rows), self.size)
        channels_last: NDArray[np.uint8] = images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return channels_last

    def cached(
        self,
        folder: Path | str,
        *,
        workers: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        patience_s: float = 0.0,
    ) -> CachedWorld["FaceWorld"]:
        """Render all images once into a memory map, and read them from there.

        A stopped rendering is resumed.

        Parameters
        ----------
        folder : of the cache; created if it does not exist
        workers : processes that render; None uses one per core. A world on a GPU always uses one
        progress : called with the number of images done and the number of all images
        patience_s : how long to wait for another process that is filling this cache, in seconds

        Raises
        ------
        CdmlLabError : the disk has too little space (checked before any work), the folder is the
            cache of another world, or another process is still filling it
        """
        return fill(
            self,
            Path(folder),
            (os.cpu_count() or 1) if workers is None else workers,
            progress,
            patience_s,
        )

    def _counters(self, rows: ArrayLike) -> tuple[Tensor, Tensor]:
        chosen = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(self):
            raise ValueError(
                f"rows must lie in 0 .. {len(self) - 1}, got {chosen.min()} .. {chosen.max()}"
            )
        # Rows are person by person: the person's number, and the index of their image.
        who = torch.from_numpy(chosen // self.images_per_identity + self.first)
        return who, torch.from_numpy(chosen % self.images_per_identity)
