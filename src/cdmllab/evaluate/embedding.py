"""Embeddings of many images, with or without the mirrored ones."""

from collections.abc import Callable
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn


class Images(Protocol):
    """n images that are read when they are needed."""

    def __len__(self) -> int: ...

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """The images of some rows, in their order: uint8 of shape (rows, height, width, 1 or 3),
        RGB.
        """


def insightface_input(images: Tensor) -> Tensor:
    """uint8 images to the input of insightface's networks and ours: (x / 255 - 0.5) / 0.5,
    float32.
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
    """Embeddings of n images, not normalised, on the CPU: float32 of shape (n, d).

    Parameters
    ----------
    backbone : a network from images (b, channels, height, width) to embeddings (b, d); left in
        evaluation mode
    images : a float tensor (n, channels, height, width), taken as it is; or uint8 images, as such
        a tensor or read portion by portion, which `prepare` turns into the network's input
    batch_size : images at a time
    flip : add the embedding of the mirrored image to each, the field's test-time augmentation
    prepare : uint8 (b, channels, height, width) to float; a network trained on another input needs
        another one

    Raises
    ------
    ValueError : no images
    """
    if len(images) == 0:
        raise ValueError("there are no images to embed")
    device = next(chain(backbone.parameters(), backbone.buffers())).device
    backbone.eval()
    parts = []
    for start in range(0, len(images), batch_size):
        x = _part(images, start, min(start + batch_size, len(images)))
        x = (prepare(x) if x.dtype == torch.uint8 else x).to(device)
        e = backbone(x).float()
        if flip:
            e = e + backbone(x.flip(-1)).float()
        parts.append(e.cpu())
    return torch.cat(parts)


def _part(images: Tensor | Images, start: int, stop: int) -> Tensor:
    if isinstance(images, Tensor):
        return images[start:stop]
    return torch.from_numpy(images.read(np.arange(start, stop))).permute(0, 3, 1, 2).contiguous()
