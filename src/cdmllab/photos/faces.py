"""What every face detector gives, and the protocol that all of them follow."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


class Face(NamedTuple):
    """A face in an image; coordinates are pixels, (0, 0) is the centre of the upper left one."""

    box: Floats  # [4] left, top, right, bottom
    landmarks: Floats  # [5, 2] in the order of `cdmllab.data.align.TEMPLATE_112`
    confidence: float  # the detector's own, in [0, 1]

    @property
    def eyes_px(self) -> float:
        """The distance between the eyes in pixels."""
        return float(np.linalg.norm(self.landmarks[1] - self.landmarks[0]))

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        left, top, right, bottom = self.box
        return float((right - left) * (bottom - top))


class Detector(Protocol):
    """Finds faces and five landmarks of each.

    A detector sees upright and turned images, of at most a few megapixels, one at a time: turning
    and shrinking are done once for all of them, in `cdmllab.photos.finding`.
    """

    @property
    def name(self) -> str:
        """What it is, for reports."""

    def find(self, pixels: Pixels) -> list[Face]:
        """All faces in RGB pixels, uint8 of shape (height, width, 3), in any order.

        Raises
        ------
        DataError : the detector fails on this image
        """


def largest_first(faces: Iterable[Face]) -> list[Face]:
    """Faces by the area of their box."""
    return sorted(faces, key=lambda face: -face.area)
