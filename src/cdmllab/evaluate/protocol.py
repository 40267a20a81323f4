"""A protocol: which images are compared, and what is known about them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cdmllab.data.pairs import Pairs
from cdmllab.evaluate.embedding import Images

Together = Literal["larger", "apart"]


class TemplateList(NamedTuple):
    """Which images are pooled to a template, see `cdmllab.metrics.templates.pool`; n images."""

    template: NDArray[np.int64]  # [n]
    media: NDArray[np.int64]  # [n]
    detector_score: NDArray[np.float64] | None = None  # [n]


@dataclass(frozen=True)
class Protocol:
    """Images, and the pairs of them that are compared.

    Raises
    ------
    ValueError : no pairs, pairs of only one kind, or arrays that do not fit the n images
    """

    name: str
    images: Tensor | Images  # [n], as `cdmllab.evaluate.embed` takes them
    pairs: Pairs  # of rows of the images, or of template numbers if there are templates
    identity: NDArray[np.int64] | None = None  # [n]; intervals over identities need it
    templates: TemplateList | None = None
    mirror: bool = True  # whether a mirrored image shows the same identity
    names: tuple[str, ...] = ()  # of the identities, if they have names
    # The file it was read from: digests, and the name of a known copy.
    copy: Mapping[str, str] | None = None
    # By name and unit, such as "yaw (degrees)"; each [n].
    nuisances: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, p = len(self.images), len(self.pairs.same)
        if p == 0:
            raise ValueError(f"protocol {self.name} has no pairs")
        if self.pairs.same.all() or not self.pairs.same.any():
            kind = "genuine" if self.pairs.same[0] else "impostor"
            raise ValueError(
                f"all {p:,} pairs of protocol {self.name} are {kind}, but both kinds are needed"
            )
        # Every array of the pairs has one entry per pair, every array of the images one per image.
        for key, array in zip(Pairs._fields, self.pairs, strict=True):
            if array.shape != (p,):
                raise ValueError(
                    f"protocol {self.name}: {key} must have shape ({p},), got {array.shape}"
                )
        per_image = {"identity": self.identity, **self.nuisances}
        per_image |= self.templates._asdict() if self.templates is not None else {}
        for key, values in per_image.items():
            if values is not None and values.shape != (n,):
                raise ValueError(
                    f"protocol {self.name}: {key} must have shape ({n},), got {values.shape}"
                )
        # Of templates, `first` and `second` are numbers, which `templates.pool` checks.
        rows = np.stack(self.pairs[:2])
        beyond = rows[(rows < 0) | (rows >= n)]
        if self.templates is None and len(beyond):
            raise ValueError(
                f"protocol {self.name}: a pair names image {beyond[0]}, but there are only {n}"
            )

    def people(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The identities in each pair, first and second side, each of shape (p,).

        None if the identities are unknown. Intervals of rates need them, see `calibration.rates`.
        """
        if self.identity is None:
            return None
        if self.templates is None:
            return self.identity[self.pairs.first], self.identity[self.pairs.second]
        # The identity of a template is that of its first
        # image; `number` rises, so bisection finds it.
        number, start = np.unique(self.templates.template, return_index=True)
        own = self.identity[start]
        first, second = (own[np.searchsorted(number, side)] for side in self.pairs[:2])
        return first, second

    def digest(self) -> str:
        """SHA-256 over pairs, identities and images.

        Images that are not a tensor enter with the arrays of their attribute `content`.
        """
        # Type and shape are hashed as well: equal bytes of another shape are other data.
        sha256 = hashlib.sha256(
            f"{self.name}: {len(self.images)} images, {', '.join(self.nuisances)}".encode()
        )
        content = (  # file-backed images describe themselves
            (self.images,)
            if isinstance(self.images, Tensor)
            else getattr(self.images, "content", ())
        )
        for part in (
            *self.pairs,
            self.identity,
            *(self.templates or ()),
            *self.nuisances.values(),
            *content,
        ):
            array = np.ascontiguousarray([] if part is None else part)
            sha256.update(f"{array.dtype} {array.shape}".encode())
            sha256.update(array.reshape(-1).view(np.uint8).data)
        return sha256.hexdigest()

    def nuisance_of_pairs(self, name: str, how: Together = "larger") -> NDArray[np.float64]:
        """Combine a nuisance of the two images of each pair, ignoring signs; shape (p,).

        Parameters
        ----------
        name : one of `nuisances`
        how : ``"larger"`` takes the larger absolute value, ``"apart"`` the absolute difference

        Raises
        ------
        ValueError : the protocol has no such nuisance, or its pairs are of templates
        """
        if name not in self.nuisances:
            known = ", ".join(self.nuisances) or "none"
            raise ValueError(f"protocol {self.name} has no nuisance {name!r}; it has {known}")
        if self.templates is not None:
            raise ValueError(
                f"protocol {self.name} compares templates, but nuisances belong to images"
            )
        one, other = self.nuisances[name][self.pairs.first], self.nuisances[name][self.pairs.second]
        return np.abs(one - other) if how == "apart" else np.maximum(np.abs(one), np.abs(other))
