"""Faces, and the protocol of all face detectors."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


class Face(NamedTuple):
    """A face in an image; coordinates are pixels, and (0, 0) is the centre of the top left one."""

    box: Floats  # [4] left, top, right, bottom
    landmarks: Floats  # [5, 2] in the order of `cdmllab.data.align.TEMPLATE_112`
    confidence: float  # the detector's, in [0, 1]

    @property
    def eyes_px(self) -> float:
        """The distance between the eyes in pixels."""
        return float(np.linalg.norm(self.landmarks[1] - self.landmarks[0]))  # left and right eye

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        left, top, right, bottom = self.box
        return float((right - left) * (bottom - top))


class Detector(Protocol):
    """Finds faces and their five landmarks.

    A detector gets one image at a time, upright or rotated, of at most a few megapixels:
    `cdmllab.photos.finding` rotates and shrinks photos for all detectors.
    """

    @property
    def name(self) -> str:
        """Its description in reports."""

    def find(self, pixels: Pixels) -> list[Face]:
        """All faces in RGB pixels, uint8 of shape (height, width, 3), in any order.

        Raises
        ------
        DataError : the detector fails on this image
        """


def largest_first(faces: Iterable[Face]) -> list[Face]:
    """Faces by the area of their box."""
    return sorted(faces, key=lambda face: -face.area)
