"""Run PyTorch and another runtime on the same images and compare them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cdmllab import preprocessing
from cdmllab.errors import CdmlLabError
from cdmllab.export import images
from cdmllab.export.agreement import Agreement, Embed, Floats, compare
from cdmllab.export.source import ExportSource

_CALIBRATION_PICTURES = 256
_NOISE_PICTURES = 16
_BATCH = 32  # images at a time


class ExportCheck:
    """PyTorch's embeddings of a face-lab protocol and of noise, to compare a runtime with.

    Call it with the runtime to get the agreement. The runtime gets insightface's input.

    Raises
    ------
    CdmlLabError : too few identities for a protocol
    """

    def __init__(self, given: ExportSource, identities: int, seed: int) -> None:
        size = given.net.size
        # The runtime gets insightface's input and the network its own: the file has to convert.
        self._usual = preprocessing.standard(given.net.channels, size)
        self._seed = seed
        try:
            self.protocol = images.protocol(identities, size, seed)
        except ValueError as error:
            raise CdmlLabError(str(error)) from error
        self._images = (self.protocol.images, images.noise(_NOISE_PICTURES, size, seed))
        # PyTorch's embeddings, computed once for all runtimes.
        self._before = self._each(self._own(given))

    def __call__(self, embed: Embed) -> Agreement:
        return compare(
            self._before, self._each(lambda part: embed(self._plain(part))), self.protocol.pairs
        )

    def calibration(self) -> Floats:
        """Normalised images of other people, to calibrate a quantisation with."""
        return self._plain(
            images.calibration(_CALIBRATION_PICTURES, self._usual["size"], self._seed)
        )

    def _each(self, embed: Callable[[Tensor], Floats]) -> tuple[Floats, Floats]:
        faces, noise = (
            np.concatenate([embed(p) for p in some.split(_BATCH)]) for some in self._images
        )
        return faces, noise

    def _plain(self, part: Tensor) -> Floats:
        return preprocessing.apply(part, self._usual).numpy()

    @staticmethod
    def _own(given: ExportSource) -> Callable[[Tensor], Floats]:
        """The network itself, with the preprocessing it was trained with."""

        @torch.no_grad()
        def embed(part: Tensor) -> Floats:
            out: Floats = given.net(preprocessing.apply(part, given.preprocessing)).numpy()
            return out

        return embed
