"""Find the faces of a photo, and crop a face to the input of a network.

A photo may be huge, grey, rotated or without a face. The detector gets a copy of bounded size; if
it is not sure of a face, the copy is rotated by a quarter and by a half turn, and the orientation
with the surest face is used. Landmarks are returned in pixels of the original photo, so a face is
cropped from the original and keeps its sharpness.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from cdmllab.data import align
from cdmllab.data.crop import Square
from cdmllab.photos.faces import Detector, Face, Floats, Pixels, largest_first

LONGEST_PX = 1280  # longest side of the copy that a detector gets
SURE = 0.9  # minimum confidence of a face
BEYOND_DOUBT = 0.99  # above it, other orientations are not tried
FEWEST_EYES_PX = 10.0  # the template has 35; below a third of it there is little to compare
_QUARTERS = (0, 1, 3, 2)  # counterclockwise: upright first, upside down last


class Look(NamedTuple):
    """The faces of a photo."""

    faces: list[Face]  # largest first; in pixels of the photo
    turned: int  # degrees counterclockwise by which it was rotated to find a face


def look(pixels: Pixels, detector: Detector, *, turn: bool = True) -> Look:
    """Find the faces of a photo, uint8 of shape (height, width, 3), RGB.

    Parameters
    ----------
    turn : whether to rotate the photo and try again if no face is certain

    Raises
    ------
    DataError : as the detector
    """
    small = _shrunk(pixels)
    # Along x and y, nearly equal.
    scale = np.array(pixels.shape[1::-1]) / np.array(small.shape[1::-1])
    best, best_confidence = Look([], 0), 0.0
    for quarters in _QUARTERS if turn else (0,):
        turned = np.ascontiguousarray(np.rot90(small, quarters))
        faces = [face for face in detector.find(turned) if face.confidence >= SURE]
        confidence = max((face.confidence for face in faces), default=0.0)
        if confidence > best_confidence:
            back = [_back(face, quarters, turned.shape, scale) for face in faces]
            best, best_confidence = Look(largest_first(back), 90 * quarters), confidence
        # An upright face that is certain saves three more detections.
        if quarters == 0 and confidence >= BEYOND_DOUBT:
            break
    return best


def cut_out(pixels: Pixels, face: Face, size: int = 112, square: Square | None = None) -> Pixels:
    """The aligned face, uint8 of shape (size, size, 3), as by `cdmllab.data.align.align`.

    A much larger face is first shrunk by averaging, since bilinear sampling would skip most of its
    pixels.
    """
    target = align.template(size, square)
    linear = align.similarity(face.landmarks, target)[:, :2]
    # How many pixels of the photo fall on one of the crop, along each axis.
    times = int(1.0 / max(np.sqrt(abs(np.linalg.det(linear))), 1e-6) + 1e-6)
    if times < 2:
        return align.align(pixels, face.landmarks, size, square)
    # Only the face's surroundings: the template's square, wherever it lies in the photo.
    radius = 2.0 * float(np.abs(np.linalg.inv(linear)).sum(axis=1).max()) * size
    low = np.maximum(face.landmarks.mean(0) - radius, 0).astype(int)
    high = np.ceil(face.landmarks.mean(0) + radius).astype(int) + 1
    part = Image.fromarray(np.ascontiguousarray(pixels[low[1] : high[1], low[0] : high[0]]))
    times = min(times, *part.size)
    reduced = np.asarray(part.reduce(times))
    # Pixel centres: pixel k of the reduced image covers the pixels from k x times on.
    landmarks = (face.landmarks - low + 0.5) / times - 0.5
    return align.align(reduced, landmarks, size, square)


def _shrunk(pixels: Pixels) -> Pixels:
    height, width, _ = pixels.shape
    longest = max(height, width)
    if longest <= LONGEST_PX:
        return pixels
    to = (
        max(1, round(width * LONGEST_PX / longest)),
        max(1, round(height * LONGEST_PX / longest)),
    )
    return np.asarray(Image.fromarray(pixels).resize(to, Image.Resampling.BOX))


def _back(face: Face, quarters: int, shape: tuple[int, ...], scale: Floats) -> Face:
    """Convert a face of the rotated copy, whose shape is given, to pixels of the photo."""
    corners = face.box.reshape(2, 2)
    points = np.concatenate([face.landmarks, corners])
    height, width = shape[:2]
    for _ in range(quarters):
        # Undo one counterclockwise quarter turn: rows become columns, counted from the other end.
        points = np.stack([height - 1 - points[:, 1], points[:, 0]], axis=1)
        height, width = width, height
    points = (points + 0.5) * scale - 0.5
    # Rotation may swap the corners of the box, so order them again.
    box = np.concatenate([points[5:].min(0), points[5:].max(0)])
    return Face(box, points[:5], face.confidence)
