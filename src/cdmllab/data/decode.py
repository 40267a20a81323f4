"""Images from bytes and back: JPEG with simplejpeg, all else with Pillow; 8-bit pixels are Pillow's
to the bit.
"""

import io
import re
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from PIL import Image

from cdmllab._util.files import opened
from cdmllab.data import modes, orientation, sniff
from cdmllab.data.modes import Colour as Colour
from cdmllab.data.modes import Pixels
from cdmllab.errors import DataError, cause

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Bytes = bytes | memoryview
LARGEST_PX = 50_000_000  # of an image that we are ready to decode
LARGEST_BYTES = 256 << 20  # of its file
SMALLEST_SIDE_PX = 2
MOST_SCANS = 100  # of a progressive JPEG; programs write about ten
MOST_DRAWN_PX = 2_000_000_000  # pixels by scans: two seconds
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")  # of a JPEG, but for those inside the pixels
_ROOM = 1 << 30  # bytes that images may take however small they are stored
_RATIO = (
    100  # how many times larger than stored they may be beyond that; faces are ten to thirty times
)
# Formats that say by their first bytes what they are, and that Pillow reads without another
# program.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "AVIF", "TIFF", "PPM", "JPEG2000")


def decode(
    data: Bytes,
    where: str,
    *,
    colour: Colour = "RGB",
    fast: bool = False,
    strict: bool = False,
    upright: bool = True,
) -> Pixels:
    """The pixels of an image, uint8 of shape (height, width, 3), or (height, width, 1) for
    ``"GRAY"``.

    **Modes.** What the pixels mean depends on the mode in which Pillow opens the image. None is
    clipped:

    ==============================  ================================================================
    mode                            rule
    ==============================  ================================================================
    ``L``, ``RGB`` as they are; colour of 16 bits comes as its upper 8, as in OpenCV ``1`` black and
    white become 0 and 255 ``P`` each pixel's colour is looked up in the palette ``I;16`` (PNG,
    TIFF, JPEG the upper 8 of the 16 bits, or of the 12 that a TIFF announces, as 2000), ``I`` of a
    PGM in OpenCV; a TIFF in which 0 is white is inverted ``I`` (TIFF, signed or 32-bit) refused:
    nothing says which number is white ``F`` refused for the same reason; OpenCV refuses it too
    ``LA``, ``PA``, ``RGBA``, a blended with black; refused if no pixel shows transparent colour
    (tRNS, GIF) ``CMYK``, ``YCbCr``, ``HSV``, converted by Pillow; in a JPEG, CMYK is taken as
    inverted, as ``LAB`` Adobe writes it and OpenCV reads it
    ==============================  ================================================================

    Transparent pixels become black because the colour stored below them is not meant to be seen: it
    may be the background that somebody removed, or whatever the program left there, and an
    embedding must depend on neither. Black is what alignment puts outside an image, so networks
    know it. OpenCV and torchvision show the colour below. Of an animation or a document of several
    pages the first is taken; colour profiles (ICC) are not applied, as nowhere in the field.

    **Orientation.** A phone stores an image as its sensor saw it, with a tag in the EXIF that says
    how to turn it. Files are turned upright. Records of packs and bins must be decoded with
    ``upright=False``: there Pillow, TurboJPEG and nvJPEG, and so most loaders, ignore the tag,
    while OpenCV (MXNet decodes with it) and DALI follow it. Such a record looks different in
    different programs: `cdmllab pack` never stores one, `cdmllab inspect` reports it. (In a TIFF
    the tag is part of the format, and Pillow always turns.)

    Parameters
    ----------
    data : the bytes of an image in one of `FORMATS`
    where : file and record, named in errors
    fast : quicker inverse cosine transform and chroma upsampling for JPEG, a few grey levels off
        Pillow's
    strict : refuse also a JPEG with damage that Pillow passes over in silence
    upright : turn the pixels as the EXIF says

    Raises
    ------
    DataError : the bytes are no image, or one cut short, of a refused mode, under 2 pixels a side
        or over 50 megapixels, or a JPEG that draws its pixels more than 100 times; nothing else is
        raised
    """
    if len(data) == 0:
        raise DataError(f"{where}: there is no image, the record is empty")
    try:
        if bytes(data[:3]) == b"\xff\xd8\xff":
            pixels = _jpeg(data, colour, fast, strict)
            turn = orientation.of_jpeg(data) if upright else orientation.UPRIGHT
        else:
            pixels, exif = _pillow(data, colour)
            turn = orientation.of_exif(exif) if upright else orientation.UPRIGHT
    except Exception as error:  # decoders raise anything
        raise DataError(f"{where}: the image cannot be decoded ({cause(error)})") from error
    if min(pixels.shape[:2]) < SMALLEST_SIDE_PX:
        raise DataError(
            f"{where}: an image of {pixels.shape[1]} x {pixels.shape[0]} pixels is no face"
        )
    return pixels if turn == orientation.UPRIGHT else orientation.upright(pixels, turn)


def other_size(where: str, size: Sequence[int], first: Sequence[int]) -> DataError:
    """For an image among others of another size; both as (height, width)."""
    found, wanted = (f"{width} x {height}" for height, width in (size, first))
    return DataError(f"{where}: the image is {found} pixels, others are {wanted}")


def stored(path: Path) -> bytes:
    """The bytes of an image file.

    Raises
    ------
    DataError : it is no plain file, or one of more than 256 MiB
    OSError : it cannot be read
    """
    with opened(path, at_most=LARGEST_BYTES) as file:
        return file.read()


def refuse_bomb(where: str, nbytes: int, stored: Callable[[], int]) -> None:
    """See that the memory for many images is in proportion to what is stored of them.

    Parameters
    ----------
    where : named in errors
    nbytes : that they would take when decoded
    stored : counts the bytes that hold them

    Raises
    ------
    DataError : it is not
    """
    if nbytes > _ROOM and nbytes > _RATIO * stored():
        raise DataError(
            f"{where}: {stored():,} bytes would become images of {nbytes:,}: too many to be real"
        )


def encode_jpeg(pixels: Pixels, quality: int = 95) -> bytes:
    """A JPEG of pixels (height, width, 1 or 3), without chroma subsampling."""
    x = np.ascontiguousarray(pixels)
    if x.shape[2] == 1:
        return bytes(
            simplejpeg.encode_jpeg(x, quality=quality, colorspace="GRAY", colorsubsampling="Gray")
        )
    return bytes(
        simplejpeg.encode_jpeg(x, quality=quality, colorspace="RGB", colorsubsampling="444")
    )


def decode_batch_cuda(
    images: Sequence[Bytes], where: str, device: "torch.device | str" = "cuda"
) -> "list[Tensor]":
    """Decode JPEGs on the GPU (nvJPEG), each to uint8 [3, height, width] there; not bit-equal to
    Pillow.

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
        raise DataError(
            f"{where}: nvJPEG cannot decode an image of this batch ({error})"
        ) from error
    return decoded


def _jpeg(data: Bytes, colour: Colour, fast: bool, strict: bool) -> Pixels:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        if strict:
            raise
        return _pillow(data, colour)[0]
    _refuse_costly(data, height, width)
    try:
        if space == "Gray":
            grey: Pixels = simplejpeg.decode_jpeg(data, "GRAY", fastdct=fast)
            return grey if colour == "GRAY" else np.repeat(grey, 3, axis=2)
        if space in ("YCbCr", "RGB") and colour == "RGB":
            pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", fastdct=fast, fastupsample=fast)
            return pixels
    except ValueError:
        if strict:
            raise
    return _pillow(data, colour)[
        0
    ]  # its weights for grey, its way from CMYK, its patience with small damage


def _pillow(data: Bytes, colour: Colour) -> tuple[Pixels, bytes]:
    """Pixels and EXIF."""
    image = _opened(data)
    _refuse_costly(data, image.height, image.width)
    image.load()  # a PNG may have its EXIF behind the pixels
    return modes.to_uint8(image, colour), image.info.get("exif", b"")


def _opened(data: Bytes) -> Image.Image:
    """An image of which only the header is read yet.

    `PIL.Image.open` does the same and warns of large images; to make its warning an error one has
    to change filters that all threads share.
    """
    stream, head = io.BytesIO(data), bytes(data[:16])
    for name in _formats():
        factory, accept = Image.OPEN[name]
        if accept is None or accept(head) is True:
            stream.seek(0)
            with suppress(
                SyntaxError, IndexError, TypeError, struct.error
            ):  # how a plugin says that it is not its own
                return factory(stream, "")
    raise ValueError(f"it is {sniff.what(data) or 'of no known format'}")


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow knows: AVIF came with 11.3."""
    Image.preinit()
    for name in (
        "WebP",
        "Avif",
        "Tiff",
        "Jpeg2K",
    ):  # `Image.init` would load forty, and takes its time
        with suppress(ImportError):
            import_module(f"PIL.{name}ImagePlugin")
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _refuse_costly(data: Bytes, height: int, width: int) -> None:
    """See that an image has no more pixels than we are ready to decode, and that a JPEG does not
    draw them often.
    """
    if height * width > LARGEST_PX:
        raise ValueError(f"{width} x {height} pixels are too many")
    if bytes(data[:2]) == b"\xff\xd8":
        most = min(MOST_SCANS, MOST_DRAWN_PX // max(height * width, 1))
        content = bytes(data)
        if content.count(b"\xff\xda") > most and (count := _scans(content)) > most:
            raise ValueError(f"{count} scans of {width} x {height} pixels are too many")


def _scans(jpeg: bytes) -> int:
    """How often the pixels of a JPEG are drawn or refined, its metadata and what follows its end
    left out.
    """
    count, found = 0, _MARKER.search(jpeg, 2)
    while found is not None and found[1] != b"\xd9":  # the end of the image
        count += found[1] == b"\xda"
        at = found.end()
        length = 0 if found[1] in (b"\x01", b"\xd8") else int.from_bytes(jpeg[at : at + 2], "big")
        found = _MARKER.search(jpeg, at + length)
    return count
