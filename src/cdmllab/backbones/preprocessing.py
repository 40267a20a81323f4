"""How a picture becomes a network's input: kept beside the weights, since networks differ in it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Preprocessing = dict[str, Any]

# insightface's recognition models: RGB, (x / 255 - 0.5) / 0.5.
INSIGHTFACE: Preprocessing = {"channels": "RGB", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "size": 112}
ORDERS = ("RGB", "BGR", "grey")
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as image libraries have it


def standard(channels: int, size: int) -> Preprocessing:
    """insightface's, for a network with this input."""
    if channels == 3:
        return {**INSIGHTFACE, "size": size}
    return {"channels": "grey", "mean": [0.5], "std": [0.5], "size": size}


def check(given: Mapping[str, Any]) -> Preprocessing:
    """The same, complete and in its plain form.

    Parameters
    ----------
    given : ``channels`` (RGB, BGR or grey), ``mean`` and ``std`` on pixels scaled to [0, 1], one number or one for
        each channel, ``size`` in pixels

    Raises
    ------
    ValueError : a key missing or unknown, or a value out of range
    """
    if set(given) != set(INSIGHTFACE):
        raise ValueError(f"preprocessing has the keys {', '.join(INSIGHTFACE)}, got {', '.join(map(str, given))}")
    if given["channels"] not in ORDERS:
        raise ValueError(f"preprocessing: channels must be one of {', '.join(ORDERS)}, got {given['channels']!r}")
    count = 1 if given["channels"] == "grey" else 3
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
    return {**plain, "size": given["size"]}


def apply(pictures: Tensor, preprocessing: Mapping[str, Any]) -> Tensor:
    """RGB pictures, uint8 of shape (b, 3, size, size), to a network's float32 input (b, channels, size, size)."""
    plain = check(preprocessing)
    size = plain["size"]
    if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[1:] != (3, size, size):
        raise ValueError(
            f"pictures must be uint8 of shape (b, 3, {size}, {size}), got {pictures.dtype} {tuple(pictures.shape)}"
        )
    scaled = pictures.float() / 255.0
    if plain["channels"] == "BGR":
        scaled = scaled.flip(1)
    if plain["channels"] == "grey":
        scaled = (scaled * scaled.new_tensor(_GREY).view(3, 1, 1)).sum(1, keepdim=True)
    mean, std = (scaled.new_tensor(plain[key]).view(-1, 1, 1) for key in ("mean", "std"))
    return (scaled - mean) / std
