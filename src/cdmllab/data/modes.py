"""Convert Pillow's image modes to 8-bit pixels, by the rules in `cdmllab.data.decode.decode`."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colour = Literal["RGB", "GRAY"]
Pixels = NDArray[np.uint8]  # [height, width, 1 or 3]
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF and a value
_DIRECT = {"1", "L", "P", "RGB"}  # modes that Pillow converts to grey in one step


def to_uint8(image: Image.Image, colour: Colour) -> Pixels:
    """The pixels of a loaded image: (height, width, 3), or (height, width, 1) for ``"GRAY"``.

    Raises
    ------
    ValueError : a mode that does not define white, or an image that is fully transparent
    """
    # Deep grey: Pillow's own conversion would clip it instead of scaling it.
    if image.mode == "I" or image.mode.startswith("I;16"):
        levels = _top_byte(image)[..., None]
        return levels if colour == "GRAY" else np.repeat(levels, 3, axis=2)
    if image.mode == "F":
        raise ValueError(
            "its pixels are floating-point numbers without a white level: store it with 8 or 16 "
            "bits"
        )
    if image.has_transparency_data:
        image = _over_black(image)
    if image.mode not in _DIRECT:
        image = image.convert("RGB")
    pixels = np.asarray(image.convert("RGB" if colour == "RGB" else "L"))  # palettes are looked up
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _top_byte(image: Image.Image) -> NDArray[np.uint8]:
    """The upper 8 bits of deep grey levels, shape (height, width); Pillow itself clips at 255."""
    tags = getattr(image, "tag_v2", {})
    if image.mode != "I":
        # A TIFF may declare fewer bits, such as the 12 of a microscope; other formats use all 16.
        bits = int(np.ravel(tags.get(_BITS_PER_SAMPLE, 16))[0])
    elif image.format == "PPM":  # Pillow scales its largest level, whatever it is, to 65,535
        bits = 16
    else:
        raise ValueError(
            "its pixels are whole numbers of no known range: store it with 8 or 16 bits"
        )
    deep = np.asarray(image).astype(np.int32)
    levels = (deep >> bits - 8).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow inverts 8-bit images only
        levels = 255 - levels
    if "transparency" in image.info:  # the transparent level becomes black, as in colour
        levels[deep == image.info["transparency"]] = 0
    return levels


def _over_black(image: Image.Image) -> Image.Image:
    """Blend a transparent image with black."""
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (0, 0):  # no pixel is even slightly opaque
        raise ValueError("it is transparent all over")
    black = Image.new("RGB", image.size)
    black.paste(rgba.convert("RGB"), mask=alpha)
    return black
