"""Alignment: move five landmarks of a face to where the network expects them, by a similarity transform."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cdmllab.data.crop import Square
from cdmllab.errors import DataError

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

# Left eye, right eye, nose, left and right corner of the mouth (as seen), x and y in a picture of 112 x 112.
TEMPLATE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)

_SUFFIX = "_5loc_attri"


def template(size: int, square: Square | None = None) -> Floats:
    """Where the landmarks go in a square picture of `size` pixels, shape (5, 2).

    InsightFace's rule: a multiple of 128 scales the 112 template by size / 128 and moves it 8 such pixels to the
    right. Every other size scales it by size / 112; InsightFace itself knows only multiples of 112 there.

    With `square`, a part of the 112 x 112 pixels (left, top, right, bottom), that part fills the
    image.
    """
    if size < 8:
        raise ValueError(f"a face of {size} pixels is too small to align")
    if square is not None:
        shown: Floats = (TEMPLATE_112 - square[:2]) * (size / (square[2] - square[0]))
        return shown
    right_px, unit = (8.0, 128) if size % 128 == 0 else (0.0, 112)
    points: Floats = (TEMPLATE_112 + np.array([right_px, 0.0])) * (size / unit)
    return points


def similarity(source: ArrayLike, target: ArrayLike) -> Floats:
    """The rotation, scale and shift that bring points nearest to others (least squares), shape (2, 3).

    Source: Umeyama 1991, eq. 40-43, in the plane; mirror images are not produced.

    Parameters
    ----------
    source, target : shape (k, 2), k >= 2

    Raises
    ------
    ValueError : shapes that differ, values that are not finite, or source points that all coincide
    """
    s, t = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if s.shape != t.shape or s.ndim != 2 or s.shape[1] != 2 or len(s) < 2:
        raise ValueError(f"source and target must have one shape (k, 2), k >= 2, got {s.shape} and {t.shape}")
    if not (np.isfinite(s).all() and np.isfinite(t).all()):
        raise ValueError("a landmark is not finite")
    centred_s, centred_t = s - s.mean(0), t - t.mean(0)
    spread = float((centred_s**2).sum())
    if spread < 1e-12:
        raise ValueError("the landmarks all coincide")
    # In the plane a similarity is multiplication by one complex number.
    zs, zt = (p[:, 0] + 1j * p[:, 1] for p in (centred_s, centred_t))
    factor = complex((zt * zs.conj()).sum()) / spread
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.concatenate([linear, (t.mean(0) - linear @ s.mean(0))[:, None]], axis=1)


def warp(pixels: Pixels, transform: ArrayLike, size: int) -> Pixels:
    """Move a picture by a transform (2, 3) of its pixel centres into a square of `size`; outside is black.

    Pixel (0, 0) has its centre at coordinate (0, 0), as in OpenCV. Sampling is bilinear.
    """
    whole = np.vstack([np.asarray(transform, dtype=np.float64), [0.0, 0.0, 1.0]])
    (a, b, c), (d, e, f), _ = np.linalg.inv(whole)
    half = 0.5  # Pillow counts from the corner of a pixel
    back = (a, b, c + half - half * (a + b), d, e, f + half - half * (d + e))
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    moved = np.asarray(image.transform((size, size), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR))
    return moved if moved.ndim == 3 else moved[..., None]


def align(pixels: Pixels, landmarks: ArrayLike, size: int = 112, square: Square | None = None) -> Pixels:
    """The aligned face, or a part of it as in `template`: uint8 of shape (size, size, channels).

    Parameters
    ----------
    pixels : shape (height, width, 1 or 3)
    landmarks : shape (5, 2), x and y in pixels, in the order of `TEMPLATE_112`

    Raises
    ------
    ValueError : landmarks of another shape, not finite, or all in one place
    """
    return warp(pixels, similarity(landmarks, template(size, square)), size)


def read_landmarks(path: Path | str) -> dict[str, Floats]:
    """Landmarks by the name of the picture, each of shape (5, 2).

    Parameters
    ----------
    path : a file of lines ``name x1 y1 ... x5 y5`` (a score may follow); or a folder with one file a picture,
        ``Name_0001_5loc_attri.txt`` as in CALFW and CPLFW, of five lines ``x y``: there the name is the
        picture's file name without its ending

    Raises
    ------
    DataError : a line of another form, or nothing in it
    """
    path = Path(path)
    if path.is_dir():
        found = {file.stem.removesuffix(_SUFFIX): _points(file.read_text(), file) for file in path.glob("*.txt")}
    else:
        lines = (line.split(None, 1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
        found = {
            name: _points("".join(rest), f"{path}, line {number}")
            for number, (name, *rest) in enumerate(lines, start=1)
        }
    if not found:
        raise DataError(f"{path} holds no landmarks")
    return found


def landmarks_of(name: str, known: Mapping[str, Floats]) -> Floats | None:
    """The landmarks of a picture, known by its whole name, or by its file name with or without ending."""
    file = PurePosixPath(name)
    return next((known[key] for key in (name, file.name, file.stem) if key in known), None)


def _points(text: str, where: Path | str) -> Floats:
    try:
        values = [float(field) for field in text.split()]
    except ValueError:
        values = []
    if len(values) not in (10, 11) or not np.isfinite(values).all():
        raise DataError(f"{where}: five points x y are wanted, not {text[:80]!r}")
    return np.array(values[:10]).reshape(5, 2)
