"""Images that are compared, rendered when they are first looked at."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdmllab.data.pairs import Pairs
from cdmllab.faces.nuisance import Nuisances
from cdmllab.faces.render import fastest, render_latents


class Template(NamedTuple):
    """Which images are pooled, as `cdmllab.metrics.templates.pool` takes it; n images."""

    template: NDArray[np.int64]  # [n]
    media: NDArray[np.int64]  # [n]
    detector_score: NDArray[np.float64]  # [n]


class LabProtocol:
    """n images, rendered when first read and then kept, and pairs of them (or of templates).

    Attributes
    ----------
    identity : who is shown, shape (n,)
    nuisances : what was added to each face, see `cdmllab.faces.nuisance`
    pairs : row numbers of images, or numbers of templates
    templates : None, or which images are pooled
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
        self._drawn = np.zeros(len(who), dtype=bool)

    def __len__(self) -> int:
        return len(self.identity)

    @property
    def nbytes(self) -> int:
        """Of the images once all are rendered."""
        return self._images.nbytes

    def __repr__(self) -> str:
        what = (
            "images"
            if self.templates is None
            else f"images in {self.templates.template.max() + 1:,} templates"
        )
        return (
            f"LabProtocol({self.name}: {len(self.pairs.same):,} pairs of {len(self):,} {what}, "
            f"{self.size} px)"
        )

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """The images of some rows, in their order: uint8 of shape (rows, size, size, 3), RGB."""
        wanted = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        missing = np.unique(wanted[~self._drawn[wanted]])
        if len(missing):
            rows_, device = torch.from_numpy(missing), fastest()
            drawn = render_latents(
                self._latents[rows_].to(device), self.nuisances.pick(rows_).to(device), self.size
            )
            self._images[missing] = drawn.permute(0, 2, 3, 1).cpu().numpy()
            self._drawn[missing] = True
        chosen: NDArray[np.uint8] = self._images[wanted]
        return chosen
