"""Protocols of aligned faces, cropped to the part of a face that a network was trained on."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdmllab.data.crop import FACE_PX, Box, Square, crop, part_of, resize
from cdmllab.errors import CdmlLabError
from cdmllab.evaluate.embedding import Images
from cdmllab.evaluate.protocol import Protocol


class Cropped:
    """A part of each aligned face, at one size, cropped when it is read.

    Parameters
    ----------
    whole : square images, of any size, with the field of view of ArcFace's aligned 112 x 112 pixels
    square : the part, in those 112 x 112 pixels; black outside of the image
    size : of the result, in pixels
    """

    def __init__(self, images: Images, square: Square, size: int) -> None:
        self._whole, self._square, self._size = images, square, size
        # Goes into `Protocol.digest`, so that another crop is not taken for the same images.
        self.content = (*getattr(images, "content", ()), np.array([*square, size]))

    def __len__(self) -> int:
        return len(self._whole)

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """Read crops in the order of `rows`: uint8 of shape (rows, size, size, channels).

        Raises
        ------
        ValueError : images that are not square
        """
        images = self._whole.read(rows)
        height, width = images.shape[1:3]
        if height != width:
            raise ValueError(
                f"only square images of aligned faces can be cropped, got {height} x {width}"
            )
        # The square is in ArcFace's 112 pixels: scale it to the pixels of these images.
        box = part_of(Box(0, 0, width, height), self._square)
        return np.stack([resize(crop(image, box), self._size, self._size) for image in images])


def cropped(protocol: Protocol, square: Square | None, size: int | None) -> Protocol:
    """The same pairs on a part of every face, at `size` pixels (default 112).

    Without `square` it is the protocol itself.
    """
    if square is None:
        return protocol
    assert not isinstance(protocol.images, Tensor)  # only the digits are tensors
    return replace(protocol, images=Cropped(protocol.images, square, size or FACE_PX))


def side_of_whole(square: Square, size: int) -> int:
    """The side in pixels of an aligned face whose part `square` has `size` pixels."""
    return math.ceil(size * FACE_PX / (square[2] - square[0]))


def refuse(protocol: str, square: Square | None) -> None:
    """Raise if a crop is requested of images that are not aligned to ArcFace's template.

    Raises
    ------
    CdmlLabError : `square` is given
    """
    if square is not None:
        raise CdmlLabError(
            f"the network needs the square {', '.join(f'{end:g}' for end in square)} of an "
            f"aligned face, but the images of protocol {protocol} are not aligned faces"
        )
