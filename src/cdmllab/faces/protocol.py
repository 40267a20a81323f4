"""A verification protocol on rendered faces, whose images are rendered when first read."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdmllab.data.pairs import Pairs
from cdmllab.faces.nuisance import Nuisances
from cdmllab.faces.render import fastest, render_latents


class Template(NamedTuple):
    """The template of each of n images, in the form of `cdmllab.metrics.templates.pool`."""

    template: NDArray[np.int64]  # [n], from 0
    media: NDArray[np.int64]  # [n], number of the medium within its template
    detector_score: NDArray[np.float64]  # [n], weights in (0, 1]


class LabProtocol:
    """n images and pairs of them, or of templates; images are rendered once and then kept.

    Attributes
    ----------
    identity : number of the person in each image, shape (n,)
    nuisances : of each image, see `cdmllab.faces.nuisance`
    pairs : of image rows; of template numbers if `templates` is not None
    templates : None, or the template that each image belongs to
    """

    def __init__(
        self,
        name: str,
        size: int,
        latents: Tensor,
        nuisances: Nuisances,
        who: NDArray[np.int64],
        pairs: Pairs,
        templates: Template | None = None,
    ) -> None:
        self.name, self.size = name, size
        self.identity, self.nuisances, self.pairs, self.templates = who, nuisances, pairs, templates
        self._latents = latents
        self._images = np.zeros((len(who), size, size, 3), dtype=np.uint8)
        self._rendered = np.zeros(len(who), dtype=bool)

    def __len__(self) -> int:
        return len(self.identity)

    @property
    def nbytes(self) -> int:
        """Memory of all images in bytes, reserved from the start."""
        return self._images.nbytes

    def __repr__(self) -> str:
        images = f"{len(self):,} images"
        if self.templates is not None:
            images += f" in {self.templates.template.max() + 1:,} templates"
        return (
            f"LabProtocol({self.name}: {len(self.pairs.same):,} pairs of {images}, {self.size} px)"
        )

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """The images of some rows, in their order: uint8 of shape (rows, size, size, 3), RGB."""
        chosen = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        missing = np.unique(chosen[~self._rendered[chosen]])
        # Render what has not been read before, each image once.
        if len(missing):
            rows_, device = torch.from_numpy(missing), fastest()
            drawn = render_latents(
                self._latents[rows_].to(device), self.nuisances.pick(rows_).to(device), self.size
            )
            self._images[missing] = drawn.permute(0, 2, 3, 1).cpu().numpy()
            self._rendered[missing] = True
        images: NDArray[np.uint8] = self._images[chosen]
        return images
