"""Decode and encode images: JPEG with simplejpeg, others with Pillow, bit-identical to Pillow."""

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
LARGEST_PX = 50_000_000  # of an image that is decoded
LARGEST_BYTES = 256 << 20  # of its file
SMALLEST_SIDE_PX = 2
MOST_SCANS = 100  # of a progressive JPEG; encoders write about ten
MOST_DRAWN_PX = 2_000_000_000  # pixels x scans, about two seconds of decoding
_MARKER = re.compile(
    rb"\xff+([\x01-\xcf\xd8-\xfe])"
)  # of a JPEG, except those inside the entropy-coded data
_ROOM = 256 << 20  # bytes that images may take at any compression ratio
_RATIO = 100  # above that, the largest ratio that is believed; faces compress ten- to thirtyfold
# Formats that their first bytes identify, and that Pillow reads without an external program.
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
    """Decode an image to uint8 of shape (height, width, 3), or (height, width, 1) for ``"GRAY"``.

    **Modes.** What the pixels mean depends on the mode in which Pillow opens the image. Nothing is
    clipped:

    ==============================  ================================================================
    mode                            rule
    ==============================  ================================================================
    ``L``, ``RGB``                  as they are; colour of 16 bits keeps its upper 8, as in OpenCV
    ``1``                           black and white become 0 and 255
    ``P``                           each pixel's colour is looked up in the palette
    ``I;16`` (PNG, TIFF, JPEG       the upper 8 of the 16 bits, or of the 12 that a TIFF declares,
    2000), ``I`` of a PGM           as in OpenCV; a TIFF in which 0 is white is inverted
    ``I`` (TIFF, signed or 32-bit)  refused: nothing defines which value is white
    ``F``                           refused for the same reason, as in OpenCV
    ``LA``, ``PA``, ``RGBA``, a     blended with black; refused if every pixel is transparent
    transparent colour (tRNS, GIF)
    ``CMYK``, ``YCbCr``, ``HSV``,   converted by Pillow; CMYK in a JPEG is taken as inverted, as
    ``LAB``                         Adobe writes it and OpenCV reads it
    ==============================  ================================================================

    Transparent pixels become black because the colour stored under them is not meant to be seen. It
    may be a background that somebody removed, or whatever the program left there, and an embedding
    must depend on neither. Black is what alignment puts outside an image, so networks have seen it.
    OpenCV and torchvision keep the colour underneath. Animations and documents give their first
    page. Colour profiles (ICC) are not applied, as is usual in the field.

    **Orientation.** A phone stores an image as its sensor saw it, with an EXIF tag for how to turn
    it. Files are turned upright. Records of packs and bins must be decoded with ``upright=False``:
    there Pillow, TurboJPEG and nvJPEG, and so most loaders, ignore the tag, while OpenCV (which
    MXNet decodes with) and DALI follow it. Because such a record looks different in different
    programs, `cdmllab pack` never stores one and `cdmllab inspect` reports it. (In a TIFF the tag
    is part of the format, and Pillow always turns.)

    Parameters
    ----------
    data : the bytes of an image in one of `FORMATS`
    where : file and record, named in errors
    fast : faster inverse cosine transform and chroma upsampling for JPEG, a few grey levels off
        Pillow's
    strict : also refuse a JPEG with damage that Pillow silently ignores
    upright : turn the pixels as the EXIF tag says

    Raises
    ------
    DataError : not an image, a truncated one, a refused mode, a side under 2 pixels, over 50
        megapixels, or a JPEG of more than 100 scans; nothing else is raised
    """
    if len(data) == 0:
        raise DataError(f"{where}: the record is empty, it has no image")
    try:
        if bytes(data[:3]) == b"\xff\xd8\xff":  # start of image, and the next marker
            pixels = _jpeg(data, colour, fast, strict)
            turn = orientation.of_jpeg(data) if upright else orientation.UPRIGHT
        else:
            pixels, exif = _pillow(data, colour)
            turn = orientation.of_exif(exif) if upright else orientation.UPRIGHT
    except Exception as error:  # decoders raise all kinds of exceptions
        raise DataError(f"{where}: the image cannot be decoded ({cause(error)})") from error
    if min(pixels.shape[:2]) < SMALLEST_SIDE_PX:
        raise DataError(
            f"{where}: an image of {pixels.shape[1]} x {pixels.shape[0]} pixels is too small"
        )
    return pixels if turn == orientation.UPRIGHT else orientation.upright(pixels, turn)


def other_size(where: str, size: Sequence[int], first: Sequence[int]) -> DataError:
    """The error for an image of another size than the first; both sizes are (height, width)."""
    own, others = (f"{width} x {height}" for height, width in (size, first))
    return DataError(f"{where}: the image has {own} pixels, others have {others}")


def stored(path: Path) -> bytes:
    """The bytes of an image file.

    Raises
    ------
    DataError : it is not a regular file, or has more than 256 MiB
    OSError : it cannot be read
    """
    with opened(path, at_most=LARGEST_BYTES) as file:
        return file.read()


def refuse_bomb(where: str, nbytes: int, stored: Callable[[], int]) -> None:
    """Check that the memory for decoded images is in proportion to their stored size.

    Parameters
    ----------
    where : named in errors
    nbytes : the size of the decoded images
    stored : counts the stored bytes; called only if `nbytes` is large

    Raises
    ------
    DataError : a ratio that no real image has
    """
    if nbytes > _ROOM and nbytes > _RATIO * stored():
        raise DataError(
            f"{where}: {stored():,} bytes would decode to {nbytes:,}, which is implausible"
        )


def encode_jpeg(pixels: Pixels, quality: int = 95) -> bytes:
    """A JPEG of pixels (height, width, 1 or 3), without chroma subsampling."""
    x = np.ascontiguousarray(pixels)
    if x.shape[2] == 1:
        return bytes(
            simplejpeg.encode_jpeg(x, quality=quality, colorspace="GRAY", colorsubsampling="Gray")
        )
    return bytes(  # 444: no chroma subsampling
        simplejpeg.encode_jpeg(x, quality=quality, colorspace="RGB", colorsubsampling="444")
    )


def decode_batch_cuda(
    images: Sequence[Bytes], where: str, device: "torch.device | str" = "cuda"
) -> "list[Tensor]":
    """Decode JPEGs on the GPU with nvJPEG, each to uint8 [3, height, width] on that device.

    The pixels are not bit-identical to Pillow's.

    Raises
    ------
    DataError : nvJPEG cannot decode one of them; decode those on the CPU
    """
    import torch  # imported late: packing and checking do not need it
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
        # Only Pillow copes with some of the damage; with `strict` such a file is refused instead.
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
    # Colour to grey, CMYK and slightly damaged files: as Pillow does it.
    return _pillow(data, colour)[0]


def _pillow(data: Bytes, colour: Colour) -> tuple[Pixels, bytes]:
    """Pixels and EXIF."""
    image = _opened(data)
    _refuse_costly(data, image.height, image.width)
    image.load()  # reads all of it: a PNG may have its EXIF after the pixels
    return modes.to_uint8(image, colour), image.info.get("exif", b"")


def _opened(data: Bytes) -> Image.Image:
    """Open an image and read only its header.

    `PIL.Image.open` does the same but warns about large images. Turning that warning into an error
    would mean changing the warning filters, which all threads share.
    """
    stream, head = io.BytesIO(data), bytes(data[:16])
    # Try each format's own test of the first bytes, in the order of `FORMATS`.
    for name in _formats():
        factory, accept = Image.OPEN[name]
        if accept is None or accept(head) is True:
            stream.seek(0)
            # These errors are how a plugin reports that the format is not its own.
            with suppress(SyntaxError, IndexError, TypeError, struct.error):
                return factory(stream, "")
    raise ValueError(f"it is {sniff.guess(data) or 'of an unknown format'}")


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this version of Pillow has: AVIF came with 11.3."""
    Image.preinit()
    # `Image.init` would load about forty plugins, which is slow.
    for name in ("WebP", "Avif", "Tiff", "Jpeg2K"):
        with suppress(ImportError):
            import_module(f"PIL.{name}ImagePlugin")
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _refuse_costly(data: Bytes, height: int, width: int) -> None:
    """Refuse images with too many pixels, and JPEGs with too many scans over them."""
    if height * width > LARGEST_PX:
        raise ValueError(f"{width} x {height} pixels are too many")
    # Each scan of a progressive JPEG goes over all pixels, and a few bytes make a scan.
    if bytes(data[:2]) == b"\xff\xd8":
        most = min(MOST_SCANS, MOST_DRAWN_PX // max(height * width, 1))
        content = bytes(data)
        # A plain count of the two bytes is fast but may
        # count metadata; count exactly only if it is high.
        if content.count(b"\xff\xda") > most and (count := _scans(content)) > most:
            raise ValueError(f"{count} scans of {width} x {height} pixels are too many")


def _scans(jpeg: bytes) -> int:
    """The number of scans of a JPEG, not counting any in its metadata or after its end."""
    count, marker = 0, _MARKER.search(jpeg, 2)
    while marker is not None and marker[1] != b"\xd9":  # end of image
        count += marker[1] == b"\xda"  # start of scan
        end = marker.end()
        # A segment begins with its length, so that markers inside it are skipped.
        length = (
            0 if marker[1] in (b"\x01", b"\xd8") else int.from_bytes(jpeg[end : end + 2], "big")
        )
        marker = _MARKER.search(jpeg, end + length)
    return count
