"""Networks see different parts of a face: protocols of aligned faces show each network its own."""

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
    """A part of every aligned face of some images, at one size, cut out when it is read.

    Parameters
    ----------
    whole : square images that show what ArcFace's aligned 112 x 112 pixels show, at any size
    square : the part, in those 112 x 112 pixels; what lies outside an image is black
    size : in pixels
    """

    def __init__(self, whole: Images, square: Square, size: int) -> None:
        self._whole, self._square, self._size = whole, square, size
        self.content = (*getattr(whole, "content", ()), np.array([*square, size]))

    def __len__(self) -> int:
        return len(self._whole)

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """The parts of some rows, in their order: uint8 of shape (rows, size, size, channels).

        Raises
        ------
        ValueError : images that are not square
        """
        whole = self._whole.read(rows)
        height, width = whole.shape[1:3]
        if height != width:
            raise ValueError(
                f"a part of an aligned face is wanted, and images of {height} x {width} are not "
                f"square"
            )
        box = part_of(Box(0, 0, width, height), self._square)
        return np.stack([resize(crop(image, box), self._size, self._size) for image in whole])


def cropped(protocol: Protocol, square: Square | None, size: int | None) -> Protocol:
    """The same pairs, showing a part of every face at `size` pixels (default 112).

    Without `square` the protocol itself.
    """
    if square is None:
        return protocol
    assert not isinstance(protocol.images, Tensor)  # those are of digits
    return replace(protocol, images=Cropped(protocol.images, square, size or FACE_PX))


def side_of_whole(square: Square, size: int) -> int:
    """How many pixels a whole aligned face must have for a part of it to have `size`."""
    return math.ceil(size * FACE_PX / (square[2] - square[0]))


def refuse(protocol: str, square: Square | None) -> None:
    """Refuse a part where a protocol's images are not aligned to ArcFace's template.

    Raises
    ------
    CdmlLabError : a part is wanted
    """
    if square is not None:
        raise CdmlLabError(
            f"the network sees the square {', '.join(f'{end:g}' for end in square)} of an aligned "
            f"face, and protocol "
            f"{protocol} does not show faces that are aligned"
        )
