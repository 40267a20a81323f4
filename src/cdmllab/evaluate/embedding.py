"""Embed many images, with or without their mirror images."""

from collections.abc import Callable
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn


class Images(Protocol):
    """n images that are read on demand."""

    def __len__(self) -> int: ...

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """Read images in the order of `rows`.

        Returns uint8 of shape (rows, height, width, 1 or 3); three channels are RGB.
        """


def insightface_input(images: Tensor) -> Tensor:
    """Scale uint8 images to float32 in [-1, 1], the input of insightface's networks and ours.

    The formula is (x / 255 - 0.5) / 0.5.
    """
    return (images.float() / 255.0 - 0.5) / 0.5


@torch.no_grad()
def embed(
    backbone: nn.Module,
    images: Tensor | Images,
    batch_size: int = 512,
    *,
    flip: bool = False,
    prepare: Callable[[Tensor], Tensor] = insightface_input,
) -> Tensor:
    """Embed n images: float32 of shape (n, d) on the CPU, not normalised.

    Parameters
    ----------
    backbone : a network from images (b, channels, height, width) to embeddings (b, d); left in
        evaluation mode
    images : a float tensor (n, channels, height, width), which is passed on unchanged; or uint8
        images, as such a tensor or as `Images`, which `prepare` turns into the network's input
    batch_size : images per forward pass
    flip : add the embedding of the mirrored image to each, the field's test-time augmentation
    prepare : from uint8 (b, channels, height, width) to float; depends on how the network was
        trained

    Raises
    ------
    ValueError : no images
    """
    if len(images) == 0:
        raise ValueError("no images to embed")
    # A network may have buffers only.
    device = next(chain(backbone.parameters(), backbone.buffers())).device
    backbone.eval()
    parts = []
    for start in range(0, len(images), batch_size):
        # [b, channels, height, width]
        x = _part(images, start, min(start + batch_size, len(images)))
        x = (prepare(x) if x.dtype == torch.uint8 else x).to(device)
        e = backbone(x).float()
        if flip:
            e = e + backbone(x.flip(-1)).float()  # the last axis is the width
        parts.append(e.cpu())
    return torch.cat(parts)


def _part(images: Tensor | Images, start: int, stop: int) -> Tensor:
    if isinstance(images, Tensor):
        return images[start:stop]
    return torch.from_numpy(images.read(np.arange(start, stop))).permute(0, 3, 1, 2).contiguous()
