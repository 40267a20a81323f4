"""Pictures from bytes and back: JPEG with simplejpeg, all else with Pillow; the pixels are Pillow's to the bit."""

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cdmllab.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Colour = Literal["RGB", "GRAY"]
Bytes = bytes | memoryview
Pixels = NDArray[np.uint8]  # [height, width, channels]
_PILLOW = {"RGB": "RGB", "GRAY": "L"}
LARGEST_PX = 50_000_000  # of a picture that we are ready to decode
SMALLEST_SIDE_PX = 2


def decode(data: Bytes, where: str, *, colour: Colour = "RGB", fast: bool = False, strict: bool = False) -> Pixels:
    """The pixels of a picture, uint8 of shape (height, width, 3), or (height, width, 1) for ``"GRAY"``.

    Grey, CMYK and palette pictures are converted; of an animated one the first frame is taken.

    Parameters
    ----------
    data : the bytes of a JPEG, PNG, or whatever Pillow reads
    where : file and record, named in errors
    fast : quicker inverse cosine transform and chroma upsampling for JPEG, a few grey levels off Pillow's
    strict : refuse also a JPEG with damage that Pillow passes over in silence

    Raises
    ------
    DataError : the bytes are no picture, or one cut short, under 2 pixels a side or over 50 megapixels
    """
    if len(data) == 0:
        raise DataError(f"{where}: there is no picture, the record is empty")
    try:
        pixels = _jpeg(data, colour, fast, strict) if bytes(data[:3]) == b"\xff\xd8\xff" else _pillow(data, colour)
    except (ValueError, OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: the picture cannot be decoded ({error})") from error
    if min(pixels.shape[:2]) < SMALLEST_SIDE_PX:
        raise DataError(f"{where}: a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels is no face")
    return pixels


def other_size(where: str, size: Sequence[int], first: Sequence[int]) -> DataError:
    """For a picture among others of another size; both as (height, width)."""
    found, wanted = (f"{width} x {height}" for height, width in (size, first))
    return DataError(f"{where}: the picture is {found} pixels, others are {wanted}")


def encode_jpeg(pixels: Pixels, quality: int = 95) -> bytes:
    """A JPEG of pixels (height, width, 1 or 3), without chroma subsampling."""
    x = np.ascontiguousarray(pixels)
    if x.shape[2] == 1:
        return bytes(simplejpeg.encode_jpeg(x, quality=quality, colorspace="GRAY", colorsubsampling="Gray"))
    return bytes(simplejpeg.encode_jpeg(x, quality=quality, colorspace="RGB", colorsubsampling="444"))


def decode_batch_cuda(images: Sequence[Bytes], where: str, device: "torch.device | str" = "cuda") -> "list[Tensor]":
    """Decode JPEGs on the GPU (nvJPEG), each to uint8 [3, height, width] there; not bit-equal to Pillow.

    Raises
    ------
    DataError : nvJPEG refuses one of them; decode those on the CPU
    """
    import torch  # packing and checking do without it, and so start sooner
    from torchvision.io import ImageReadMode, decode_jpeg

    buffers = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in images]
    try:
        decoded: list[Tensor] = decode_jpeg(buffers, mode=ImageReadMode.RGB, device=device)
    except RuntimeError as error:
        raise DataError(f"{where}: nvJPEG cannot decode a picture of this batch ({error})") from error
    return decoded


def _jpeg(data: Bytes, colour: Colour, fast: bool, strict: bool) -> Pixels:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        _refuse_huge(height, width)
        if space == "Gray":
            grey: Pixels = simplejpeg.decode_jpeg(data, "GRAY", fastdct=fast)
            return grey if colour == "GRAY" else np.repeat(grey, 3, axis=2)
        if space in ("YCbCr", "RGB") and colour == "RGB":
            pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", fastdct=fast, fastupsample=fast)
            return pixels
    except ValueError:
        if strict:
            raise
    return _pillow(data, colour)  # its weights for grey, its way from CMYK, its patience with small damage


def _pillow(data: Bytes, colour: Colour) -> Pixels:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(data))
        except Image.DecompressionBombWarning as error:
            raise ValueError(str(error)) from error
        except UnidentifiedImageError:
            raise ValueError("it is of no known format") from None
    _refuse_huge(image.height, image.width)
    pixels = np.asarray(image.convert(_PILLOW[colour]))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _refuse_huge(height: int, width: int) -> None:
    if height * width > LARGEST_PX:
        raise ValueError(f"{width} x {height} pixels are too many")
