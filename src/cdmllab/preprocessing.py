"""How an image becomes a network's input; stored with the weights, because networks differ."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Preprocessing = dict[str, Any]

# insightface's recognition models: RGB, (x / 255 - 0.5) / 0.5.
INSIGHTFACE: Preprocessing = {
    "channels": "RGB",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "size": 112,
}
# What other public checkpoints expect: https://github.com/mk-minchul/CVLface,
# https://github.com/mk-minchul/AdaFace/blob/master/inference.py,
# https://github.com/IrvingMeng/MagFace/blob/main/inference/gen_feat.py.
CVLFACE: Preprocessing = INSIGHTFACE
ADAFACE: Preprocessing = INSIGHTFACE | {"channels": "BGR"}
MAGFACE: Preprocessing = ADAFACE | {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
ORDERS = ("RGB", "BGR", "grey")
WHOLE = (0.0, 0.0, 112.0, 112.0)
"""The crop of a network that sees all of an aligned face, as ArcFace's do."""
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as image libraries have it


def standard(channels: int, size: int) -> Preprocessing:
    """insightface's preprocessing for a network with this input."""
    if channels == 3:
        return {**INSIGHTFACE, "size": size}
    return {"channels": "grey", "mean": [0.5], "std": [0.5], "size": size}


def check(given: Mapping[str, Any]) -> Preprocessing:
    """A checked copy, complete and in its plain form.

    Parameters
    ----------
    given : ``channels`` (RGB, BGR or grey), ``mean`` and ``std`` on pixels scaled to [0, 1], one
        number or one for each channel, ``size`` in pixels; and ``crop`` for a network that sees
        another part of a face than ArcFace's: left, top, right and bottom of a square, in pixels of
        the 112 x 112 image that `cdmllab.data.align` makes. The square may reach beyond that image

    Raises
    ------
    ValueError : a key missing or unknown, or a value out of range
    """
    if set(given) - {"crop"} != set(INSIGHTFACE):
        raise ValueError(
            f"preprocessing needs the keys {', '.join(INSIGHTFACE)} and may have crop, got "
            f"{', '.join(map(str, given))}"
        )
    if given["channels"] not in ORDERS:
        raise ValueError(
            f"preprocessing: channels must be one of {', '.join(ORDERS)}, got {given['channels']!r}"
        )
    count = channels_of(given)
    plain: Preprocessing = {"channels": given["channels"]}
    for key in ("mean", "std"):
        value = given[key]
        values = [value] * count if isinstance(value, int | float) else list(value)
        if len(values) != count or not all(isinstance(v, int | float) for v in values):
            raise ValueError(f"preprocessing: {key} must be one number or {count}, got {value!r}")
        plain[key] = [float(v) for v in values]
    if min(plain["std"]) <= 0.0:
        raise ValueError(f"preprocessing: std must be positive, got {given['std']!r}")
    if not isinstance(given["size"], int) or given["size"] < 1:
        raise ValueError(f"preprocessing: size must be a number of pixels, got {given['size']!r}")
    plain["size"] = given["size"]
    crop = crop_of(given)
    return plain if crop == WHOLE else {**plain, "crop": list(crop)}


def crop_of(given: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """The square of an aligned face that a network sees: left, top, right, bottom, see `check`.

    Raises
    ------
    ValueError : not four finite numbers, or not a square
    """
    crop = given.get("crop", WHOLE)
    if not isinstance(crop, list | tuple) or len(crop) != 4:
        raise ValueError(
            f"preprocessing: crop must be left, top, right and bottom of a square, got {crop!r}"
        )
    if not all(isinstance(end, int | float) and math.isfinite(end) for end in crop):
        raise ValueError(f"preprocessing: crop must be four finite numbers, got {crop!r}")
    left, top, right, bottom = map(float, crop)
    if right <= left or not math.isclose(right - left, bottom - top, rel_tol=1e-6):
        raise ValueError(
            f"preprocessing: crop must be a square, got {right - left:g} x {bottom - top:g} pixels"
        )
    return left, top, right, bottom


def channels_of(given: Mapping[str, Any]) -> int:
    """The channels of a network's input: 1 for grey, 3 for colour."""
    return 1 if given["channels"] == "grey" else 3


def usual(given: Mapping[str, Any]) -> Preprocessing:
    """insightface's normalisation with another preprocessing's size, crop and channels."""
    plain = check(given)
    kept = {"crop": plain["crop"]} if "crop" in plain else {}
    return standard(channels_of(plain), plain["size"]) | kept


def apply(images: Tensor, preprocessing: Mapping[str, Any]) -> Tensor:
    """Turn uint8 images into a network's float32 input, shape (b, channels, size, size).

    A grey network gets the luminance of colour images, a colour network three copies of a grey one.

    Parameters
    ----------
    images : uint8, shape (b, 1 or 3, size, size)
    preprocessing : see `check`

    Raises
    ------
    ValueError : images of another type or size
    """
    plain = check(preprocessing)
    size, channels = plain["size"], channels_of(plain)
    shape = tuple(images.shape)
    if (
        images.dtype != torch.uint8
        or len(shape) != 4
        or shape[1] not in (1, 3)
        or shape[2:] != (size, size)
    ):
        raise ValueError(
            f"images must be uint8 of shape (b, 1 or 3, {size}, {size}), got {images.dtype} {shape}"
        )
    scaled = images.float() / 255.0
    if channels == 1 and shape[1] == 3:
        scaled = (scaled * scaled.new_tensor(_GREY).view(3, 1, 1)).sum(1, keepdim=True)
    if channels == 3 and shape[1] == 1:
        scaled = scaled.expand(-1, 3, -1, -1)
    if plain["channels"] == "BGR":
        scaled = scaled.flip(1)
    mean, std = (scaled.new_tensor(plain[key]).view(-1, 1, 1) for key in ("mean", "std"))
    return (scaled - mean) / std


def require(expected: Mapping[str, Any], given: Mapping[str, Any], where: str) -> None:
    """Check that two preprocessings are the same.

    Raises
    ------
    ValueError : they differ; the message names `where` the second one comes from and the keys
    """
    a, b = ({**check(some), "crop": list(crop_of(some))} for some in (expected, given))
    differences = [f"{key} {b[key]} instead of {a[key]}" for key in a if a[key] != b[key]]
    if differences:
        raise ValueError(
            f"{where} has another preprocessing than the network was trained with: "
            f"{'; '.join(differences)}"
        )
