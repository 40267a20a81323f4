"""A perceptual hash: the hashes of similar images differ in few bits.

Its 256 bits are the signs of the differences between horizontal neighbours in a 16 x 17 grey
thumbnail (a difference hash, after N. Krawetz,
https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html). Resizing, another
JPEG quality or another brightness hardly change it. The usual 64 bits are too few for aligned
faces, whose coarse structure is always the same.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

BITS = 256
_ROWS, _COLUMNS = 16, 17
_GREY = (0.299, 0.587, 0.114)  # luma of Rec. 601
_BLOCK = 1 << 23  # pairs compared at a time


class Near(NamedTuple):
    """Pairs of similar images."""

    first: NDArray[np.int64]  # [m] rows of the first set
    second: NDArray[np.int64]  # [m] rows of the second
    bits: NDArray[np.int64]  # [m] number of bits in which their hashes differ


def hashes(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The hashes of uint8 images (n, height, width, 1 or 3): shape (n, 4).

    Raises
    ------
    ValueError : the images have another type or shape
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(
            f"images must be uint8 of shape (n, height, width, 1 or 3), got {images.dtype} "
            f"{images.shape}"
        )
    x = torch.from_numpy(np.ascontiguousarray(images)).float()
    grey = x[..., 0] if images.shape[3] == 1 else (x * torch.tensor(_GREY)).sum(dim=3)
    # Areas are averaged, which makes the thumbnail independent of the image's size.
    small = torch.nn.functional.interpolate(grey[:, None], size=(_ROWS, _COLUMNS), mode="area")[
        :, 0
    ]
    # 16 x 16 signs of horizontal differences; 17 columns have 16 gaps.
    signs = (small[:, :, 1:] > small[:, :, :-1]).reshape(len(images), -1).numpy()
    return np.packbits(signs, axis=1).view(np.uint64)  # [n, 4]


def near(first: NDArray[np.uint64], second: NDArray[np.uint64], bits: int) -> Near:
    """All pairs of a hash from each set that differ in at most `bits` bits.

    Parameters
    ----------
    first, second : hashes of shapes (n, 4) and (m, 4); all n m pairs are compared, in blocks
    """
    blocks: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    step = max(1, _BLOCK // max(1, len(second)))
    for start in range(0, len(first), step):
        block = first[start : start + step]
        distance = np.zeros((len(block), len(second)), dtype=np.uint16)
        # XOR leaves a one for each bit that differs; count them word by word.
        for word in range(first.shape[1]):
            distance += np.bitwise_count(block[:, None, word] ^ second[None, :, word])
        rows, columns = np.nonzero(distance <= bits)
        blocks.append((rows + start, columns, distance[rows, columns].astype(np.int64)))
    if not blocks:
        empty = np.zeros(0, dtype=np.int64)
        return Near(empty, empty, empty)
    return Near(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))
