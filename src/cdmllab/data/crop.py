"""Bring an image to the size of a network's input."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]  # [height, width, 1 or 3]
Square = tuple[float, float, float, float]
"""A part of an aligned face: left, top, right, bottom in ArcFace's 112 x 112 pixels."""
FACE_PX = 112


class Box(NamedTuple):
    """A rectangle of an image in pixels; right and bottom are the first column and row outside."""

    left: int
    top: int
    right: int
    bottom: int


def crop(pixels: Pixels, box: Box) -> Pixels:
    """Cut out a box; whatever lies outside the image is black."""
    height, width, channels = pixels.shape
    out = np.zeros((box.bottom - box.top, box.right - box.left, channels), dtype=np.uint8)
    # The part of the box that is in the image, and its place in the result.
    top, left = max(box.top, 0), max(box.left, 0)
    inside = pixels[top : min(box.bottom, height), left : min(box.right, width)]
    out[
        top - box.top : top - box.top + len(inside),
        left - box.left : left - box.left + inside.shape[1],
    ] = inside
    return out


def part_of(face: Box, square: Square) -> Box:
    """The box of an image that shows a part of an aligned face, to the nearest pixel.

    Parameters
    ----------
    face : the square of the image that shows what ArcFace's aligned 112 x 112 pixels show
    square : the part, in those 112 x 112 pixels; it may reach beyond them
    """
    scale = (face.right - face.left) / FACE_PX
    left, top = round(face.left + square[0] * scale), round(face.top + square[1] * scale)
    # A common side for both directions, so that rounding does not make the box oblong.
    side = round((square[2] - square[0]) * scale)
    return Box(left, top, left + side, top + side)


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resample to a size; Pillow averages areas when it shrinks, so no pixel is skipped."""
    if pixels.shape[:2] == (height, width):
        return pixels
    # Pillow takes grey images without the last axis.
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return resized if resized.ndim == 3 else resized[..., None]


def centre_square(pixels: Pixels, size: int) -> Pixels:
    """The largest square in the middle, at `size` pixels."""
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(crop(pixels, Box(left, top, left + side, top + side)), size, size)
