"""Align a face: a similarity transform moves five landmarks to where the network expects them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cdmllab._util import files
from cdmllab._util.files import printable
from cdmllab.data.crop import Square
from cdmllab.data.walk import files_in
from cdmllab.errors import DataError, plain, reader

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

# Left eye, right eye, nose, left and right corner of the mouth (as seen by the viewer): x and y in
# an image of 112 x 112 pixels.
TEMPLATE_112 = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)

_LARGEST = 4 << 30  # bytes of a file; the landmarks of six million images take half of it
_SUFFIX = "_5loc_attri"
_HINT = "; a name with spaces must be in double quotes or followed by a tab"


def template(size: int, square: Square | None = None) -> Floats:
    """Where the landmarks go in a square image of `size` pixels, shape (5, 2).

    This is InsightFace's rule: a multiple of 128 scales the 112 template by size / 128 and moves it
    8 such pixels to the right. Every other size scales it by size / 112; InsightFace itself allows
    only multiples of 112 there.

    With `square` (left, top, right, bottom in the 112 x 112 pixels), that part fills the image.
    """
    if size < 8:
        raise ValueError(f"a face of {size} pixels is too small to align")
    if square is not None:
        scaled: Floats = (TEMPLATE_112 - square[:2]) * (size / (square[2] - square[0]))
        return scaled
    # Both conventions of insightface: 128-pixel crops show more at the sides than 112-pixel ones.
    right_px, unit = (8.0, 128) if size % 128 == 0 else (0.0, 112)
    points: Floats = (TEMPLATE_112 + np.array([right_px, 0.0])) * (size / unit)
    return points


def similarity(source: ArrayLike, target: ArrayLike) -> Floats:
    """The least-squares rotation, scale and shift from points to others, shape (2, 3).

    Source: Umeyama 1991, eq. 40-43, in the plane, without reflections.

    Parameters
    ----------
    source, target : shape (k, 2), k >= 2

    Raises
    ------
    ValueError : shapes that differ, values that are not finite, or source points that all coincide
    """
    s, t = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if s.shape != t.shape or s.ndim != 2 or s.shape[1] != 2 or len(s) < 2:
        raise ValueError(
            f"source and target must share a shape (k, 2), k >= 2, got {s.shape} and {t.shape}"
        )
    if not (np.isfinite(s).all() and np.isfinite(t).all()):
        raise ValueError("a landmark is not finite")
    # Remove the shift first; rotation and scale then follow from the centred points alone.
    centred_s, centred_t = s - s.mean(0), t - t.mean(0)
    spread = float((centred_s**2).sum())
    if spread < 1e-12:
        raise ValueError("the landmarks all coincide")
    # In the plane a similarity is multiplication by one complex number.
    zs, zt = (p[:, 0] + 1j * p[:, 1] for p in (centred_s, centred_t))
    factor = complex((zt * zs.conj()).sum()) / spread  # scale x (cos + i sin) of the rotation
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    # The shift takes the mean of the source to the mean of the target.
    return np.concatenate([linear, (t.mean(0) - linear @ s.mean(0))[:, None]], axis=1)


def warp(pixels: Pixels, transform: ArrayLike, size: int) -> Pixels:
    """Move an image by a transform (2, 3) of its pixel centres into a square of `size` pixels.

    Whatever lies outside the image is black.
    Pixel (0, 0) has its centre at coordinate (0, 0), as in OpenCV. Sampling is bilinear.
    """
    matrix = np.vstack([np.asarray(transform, dtype=np.float64), [0.0, 0.0, 1.0]])
    (a, b, c), (d, e, f), _ = np.linalg.inv(matrix)
    # Pillow wants the map from output to input, in coordinates that count from a pixel's corner.
    half = 0.5
    back = (a, b, c + half - half * (a + b), d, e, f + half - half * (d + e))
    # Pillow takes grey images without the last axis.
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    moved = np.asarray(
        image.transform((size, size), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    )
    return moved if moved.ndim == 3 else moved[..., None]


def align(
    pixels: Pixels, landmarks: ArrayLike, size: int = 112, square: Square | None = None
) -> Pixels:
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


@reader("a readable file of landmarks")
def read_landmarks(path: Path | str) -> dict[str, Floats]:
    """Landmarks by the name of the image, each of shape (5, 2).

    Parameters
    ----------
    path : a file of lines ``name x1 y1 ... x5 y5`` (a score may follow), in which a name with
        spaces is in double quotes or followed by a tab; or a folder with one file per image, as in
        CALFW and CPLFW: ``Name_0001_5loc_attri.txt`` with five lines ``x y``, where the name is the
        image's file name without its extension

    Returns
    -------
    by names as `cdmllab._util.files.printable` writes them: x and y in pixels of the upright image,
    which is what detectors that read with OpenCV write

    Raises
    ------
    DataError : a malformed line, a name that occurs twice, or an empty file
    """
    path = Path(path)
    rows, hint = (_folder_rows(path), "") if path.is_dir() else (_rows(path), _HINT)
    landmarks: dict[str, Floats] = {}
    first: dict[str, str] = {}  # the file and line of each name
    # Refuse a name that occurs twice, rather than let the last of its rows win.
    for name, points, where in rows:
        if name in landmarks:
            raise DataError(
                f"{where}: the landmarks of {plain(name, 100)} are also in {first[name]}"
            )
        landmarks[name], first[name] = _points(points, where, hint), where
    if not landmarks:
        raise DataError(f"{path} contains no landmarks")
    return landmarks


def landmarks_by_image(
    names: Iterable[str], known: Mapping[str, Floats], where: Path | str
) -> dict[str, Floats]:
    """Look up the landmarks of images by path or file name, with or without the extension.

    Parameters
    ----------
    names : of all images, printable and with slashes; those without landmarks are not in the result
    known : as `read_landmarks` returns them
    where : the file or folder of landmarks, named in errors

    Raises
    ------
    DataError : an entry of `known` matches two images, because it is a file name without a folder
        that two people have
    """
    matched: dict[str, Floats] = {}
    taken: dict[str, str] = {}
    for name in names:
        # From the most specific spelling of a name to the least.
        path = PurePosixPath(name)
        key = next(
            (
                key
                for key in (name, str(path.with_suffix("")), path.name, path.stem)
                if key in known
            ),
            None,
        )
        if key is None:
            continue
        # A key such as 001.jpg may fit images of several people.
        if taken.get(key, name) != name:
            raise DataError(
                f"{where}: {key!r} matches both {taken[key]} and {name}: write the path of each"
            )
        taken[key], matched[name] = name, known[key]
    return matched


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """Name, numbers, and file and line, for each line of a file."""
    # A byte-order mark, which Windows programs write, is not part of the first name.
    text = files.read_bytes(path, "a readable file of landmarks", at_most=_LARGEST).removeprefix(
        b"\xef\xbb\xbf"
    )
    for number, raw in enumerate(text.split(b"\n"), start=1):
        line = os.fsdecode(raw).strip()  # as file names are decoded, UTF-8 or not
        if not line:
            continue
        # The three forms of a line: a quoted name, a name before a tab, a name without spaces.
        if line.startswith('"') and '"' in line[1:]:
            name, _, rest = line[1:].partition('"')
        elif "\t" in line:
            name, _, rest = line.partition("\t")
        else:
            name, rest = (*line.split(None, 1), "")[:2]  # no rest for a name alone
        yield printable(name.strip()), rest, f"{path}, line {number}"


def _folder_rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """As `_rows`, for a folder with one file per image; macOS's ``._name`` files are skipped."""
    for file in files_in(path, "*.txt"):
        yield (
            printable(file.stem.removesuffix(_SUFFIX)),
            os.fsdecode(files.read_bytes(file, "a readable file of landmarks")),
            str(file),
        )


def _points(text: str, where: str, hint: str) -> Floats:
    try:
        values = [float(field) for field in text.split(None, 12)[:12]]
    except ValueError:  # also for numbers with more digits than Python parses
        values = []
    # Ten coordinates, perhaps a score.
    if len(values) not in (10, 11) or not np.isfinite(values).all():
        raise DataError(f"{where}: expected five points x y, got {text[:80]!r}{hint}")
    return np.array(values[:10]).reshape(5, 2)
