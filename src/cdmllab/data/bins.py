"""Verification bins: InsightFace's ``lfw.bin`` and others like it, and the same as plain ``.npz``.

A bin is a pickle of two lists: 2 P images, as JPEG bytes or pixels, and P flags for whether a pair
is of the same person. The pairs of the ten folds follow one another. Our ``.npz`` files contain the
concatenated JPEG bytes and their lengths, and are read without unpickling.
"""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab._util import files
from cdmllab._util.files import replacing
from cdmllab.data import npz, safepickle
from cdmllab.data.decode import SMALLEST_SIDE_PX, Colour, decode, encode_jpeg, refuse_bomb
from cdmllab.data.pairs import Pairs, in_folds
from cdmllab.errors import DataError, reader

FOLDS = 10
_LARGEST = 4 << 30  # bytes of a file
# Images may be listed repeatedly, which takes two bytes: so many at least, or one per 100 bytes.
_FEW, _BYTES_EACH = 100_000, 100
_ROOM, _RATIO = 256 << 20, 100  # bytes of all listed images, as stored; or a multiple of the file
KEYS = ("jpeg", "length", "same")  # the arrays of an `.npz`


class Bin(NamedTuple):
    """2 P images and P pairs; pair k compares images 2 k and 2 k + 1."""

    images: list[bytes | NDArray[np.uint8]]  # [2 P] JPEG bytes, or pixels [height, width, 1 or 3]
    same: NDArray[np.bool_]  # [P]
    path: Path

    def decoded(self, colour: Colour = "RGB") -> NDArray[np.uint8]:
        """All images: uint8 of shape (2 P, height, width, 1 or 3).

        Raises
        ------
        DataError : an image cannot be decoded, or differs in size from the first
        """
        pixels: NDArray[np.uint8] | None = None
        for k in range(len(self.images)):
            x = self.image(k, colour)
            # Before the memory for all images is requested,
            # check that the file is large enough for them.
            if pixels is None:
                refuse_bomb(str(self.path), len(self.images) * x.size, self.stored_bytes)
                pixels = np.empty((len(self.images), *x.shape), dtype=np.uint8)
            if x.shape != pixels.shape[1:]:
                raise DataError(
                    f"{self.path}, image {k}: its shape is {x.shape}, that of others "
                    f"{pixels.shape[1:]}"
                )
            pixels[k] = x
        return np.empty((0, 0, 0, 3), dtype=np.uint8) if pixels is None else pixels

    def stored_bytes(self) -> int:
        """Bytes of all stored images; an object that is listed repeatedly counts once."""
        once = {id(image): image for image in self.images}.values()
        return sum(map(_nbytes, once))

    def image(self, k: int, colour: Colour = "RGB", *, strict: bool = False) -> NDArray[np.uint8]:
        """The pixels of image k; `strict` as in `cdmllab.data.decode.decode`."""
        image = self.images[k]
        if isinstance(image, bytes):
            where = f"{self.path}, image {k}"
            # Records are decoded as most programs do, without turning them by EXIF.
            return decode(image, where, colour=colour, strict=strict, upright=False)
        if colour == "RGB" and image.shape[2] == 1:
            return np.repeat(image, 3, axis=2)
        if colour == "GRAY" and image.shape[2] == 3:
            raise DataError(f"{self.path}, image {k}: it is stored in colour, expected grey")
        return image

    def pairs(self, folds: int = FOLDS) -> Pairs:
        """The pairs with their folds, see `in_order`.

        Raises
        ------
        DataError : fewer pairs than `folds`
        """
        return in_order(self.same, folds, str(self.path))


def in_order(same: ArrayLike, folds: int, where: str) -> Pairs:
    """P pairs of 2 P images: pair k is images 2 k and 2 k + 1, and the folds follow one another.

    The folds are as equal as possible, see `cdmllab.data.pairs.in_folds`.

    Raises
    ------
    DataError : fewer pairs than `folds`
    """
    is_same = np.asarray(same, dtype=bool)
    first = np.arange(0, 2 * len(is_same), 2)
    try:
        return Pairs(first, first + 1, is_same, in_folds(len(is_same), folds))
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None


@reader("a readable bin")
def read(path: Path | str) -> Bin:
    """Read a ``.bin``, by restricted unpickling (`cdmllab.data.safepickle`), or our ``.npz``.

    Raises
    ------
    DataError : refused or damaged, or the counts do not match

    Examples
    --------
    >>> import numpy as np
    >>> black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    >>> write("two.bin", [black, black, black, white], same=[True, False])
    >>> stored = read("two.bin")
    >>> stored.same.tolist(), stored.decoded().shape
    ([True, False], (4, 8, 8, 3))
    """
    path = Path(path)
    data = files.read_bytes(path, "a readable bin", at_most=_LARGEST)
    if not data:
        raise DataError(f"{path} is empty")
    if data[:4] == b"PK\x03\x04":  # the start of a zip, and so of an .npz
        return _read_npz(path)
    loaded = safepickle.loads(data, str(path))
    if not isinstance(loaded, tuple | list) or len(loaded) != 2:
        raise DataError(f"{path} must contain (images, issame), got {type(loaded).__name__}")
    # Old pickles may contain the lists as arrays of NumPy, in several forms.
    stored, same = (safepickle.array(part) for part in loaded)
    if not isinstance(stored, list | tuple | np.ndarray) or not isinstance(
        same, list | tuple | np.ndarray
    ):
        raise DataError(f"{path} must contain two lists, (images, issame)")
    _refuse_many(stored, path, len(data))
    images = _images(stored, path)
    listed = sum(map(_nbytes, images))
    if listed > max(_ROOM, _RATIO * len(data)):
        raise DataError(
            f"{path} lists the same images so often that {len(data):,} bytes become {listed:,}, "
            f"which is implausible"
        )
    return _checked(Bin(images, _flags(same, path), path))


def write(
    path: Path | str,
    images: Sequence[bytes | NDArray[np.uint8]],
    same: ArrayLike,
    *,
    quality: int = 95,
) -> None:
    """Write a bin that InsightFace can read too; pixels are encoded as JPEG.

    Parameters
    ----------
    images : 2 P images, JPEG bytes or pixels of shape (height, width, 1 or 3)
    same : shape (P,)
    quality : of the JPEGs that pixels are encoded to
    """
    flags = [bool(s) for s in np.asarray(same)]
    _fitting(len(images), len(flags), str(path))
    jpegs = [image if isinstance(image, bytes) else encode_jpeg(image, quality) for image in images]
    with replacing(path) as temporary:
        temporary.write_bytes(pickle.dumps((jpegs, flags), protocol=4))


def write_npz(path: Path | str, source: Bin) -> None:
    """Write a bin as ``.npz`` without pickles.

    Its arrays are ``jpeg`` (all bytes concatenated), ``length`` and ``same``.
    """
    jpegs = [image if isinstance(image, bytes) else encode_jpeg(image) for image in source.images]
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            jpeg=np.frombuffer(b"".join(jpegs), dtype=np.uint8),
            length=np.array([len(jpeg) for jpeg in jpegs], dtype=np.int64),
            same=source.same,
        )


def _read_npz(path: Path) -> Bin:
    try:
        with npz.opened(path) as arrays:
            jpeg, length, same = (arrays[key] for key in KEYS)
    except DataError as error:
        raise DataError(
            f"{path} is not a readable bin: expected the arrays jpeg, length and same ({error})"
        ) from error
    if jpeg.dtype != np.uint8 or jpeg.ndim != 1 or same.ndim != 1:
        raise DataError(f"{path}: jpeg must be an array of bytes, and same a list")
    # Each length is checked before their sum, which could wrap around.
    if (
        length.ndim != 1
        or length.dtype.kind not in "iu"
        or ((length < 0) | (length > jpeg.size)).any()
    ):
        raise DataError(f"{path}: the lengths of its images must be from 0 to {jpeg.size:,}")
    if length.sum() != jpeg.size:
        raise DataError(
            f"{path}: the lengths of its images do not add up to its {jpeg.size:,} bytes"
        )
    _refuse_many(length, path, path.stat().st_size)
    # Cut the bytes into images, each ending where the next begins.
    ends = np.cumsum(length)
    data = jpeg.tobytes()
    images: list[bytes | NDArray[np.uint8]] = [
        data[e - n : e] for e, n in zip(ends, length, strict=True)
    ]
    return _checked(Bin(images, _flags(same, path), path))


def _refuse_many(images: Sequence[Any] | NDArray[Any], path: Path, size: int) -> None:
    """Refuse lists of more images than a file of `size` bytes can have."""
    most = max(_FEW, size // _BYTES_EACH)
    if isinstance(images, np.ndarray) and images.ndim == 0:
        raise DataError(f"{path} has a single number in place of its images")
    if len(images) > most:
        raise DataError(
            f"{path} lists {len(images):,} images; a file of {size:,} bytes may list {most:,}"
        )


def _images(stored: Sequence[Any] | NDArray[Any], path: Path) -> list[bytes | NDArray[np.uint8]]:
    if isinstance(stored, np.ndarray):
        return [_image(image, path, k) for k, image in enumerate(stored)]
    # An image that is listed repeatedly stays one object: its bytes are copied once.
    once: dict[int, bytes | NDArray[np.uint8]] = {}
    for k, image in enumerate(stored):
        if id(image) not in once:
            once[id(image)] = _image(image, path, k)
    return [once[id(image)] for image in stored]


def _nbytes(image: bytes | NDArray[np.uint8]) -> int:
    return len(image) if isinstance(image, bytes) else image.nbytes


def _image(image: Any, path: Path, k: int) -> bytes | NDArray[np.uint8]:
    x = safepickle.array(image)
    if isinstance(x, bytes):
        return x
    # The forms in the wild: an encoded image as an array, grey, colour, and channels first.
    if isinstance(x, np.ndarray) and x.dtype == np.uint8:
        if x.ndim == 1 or (x.ndim == 2 and 1 in x.shape):
            return x.tobytes()  # the bytes of a JPEG as an array
        pixels = x[..., None] if x.ndim == 2 else x
        if pixels.ndim == 3 and pixels.shape[2] not in (1, 3) and pixels.shape[0] == 3:
            pixels = pixels.transpose(1, 2, 0)
        if pixels.ndim == 3 and pixels.shape[2] in (1, 3):
            if min(pixels.shape[:2]) < SMALLEST_SIDE_PX:
                raise DataError(
                    f"{path}, image {k}: an image of {pixels.shape[1]:,} x {pixels.shape[0]:,} "
                    f"pixels is too small"
                )
            return pixels
    kind = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
    raise DataError(f"{path}, image {k}: expected JPEG bytes or a uint8 array, got {kind}")


def _flags(same: Any, path: Path) -> NDArray[np.bool_]:
    flags = []
    # Flags may be Python's or NumPy's bools, or whole numbers; nothing else counts as true.
    for k, flag in enumerate(same):
        value = safepickle.array(flag)
        if not isinstance(value, bool | int | np.bool_ | np.integer) or value not in (0, 1):
            raise DataError(
                f"{path}, pair {k}: issame must be true or false, got {safepickle.describe(value)}"
            )
        flags.append(bool(value))
    return np.array(flags, dtype=bool)


def _checked(loaded: Bin) -> Bin:
    _fitting(len(loaded.images), len(loaded.same), str(loaded.path))
    return loaded


def _fitting(images: int, pairs: int, where: str) -> None:
    if images != 2 * pairs or pairs == 0:
        raise DataError(
            f"{where}: {images:,} images do not match {pairs:,} pairs of two images each"
        )
