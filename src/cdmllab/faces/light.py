"""Light: wrapped Lambert, sky and ground, a highlight; in linear colours."""

from typing import NamedTuple

import torch
from torch import Tensor

from cdmllab.faces.compositing import plane, smooth


class Lamp(NamedTuple):
    """Light on b images: direction and half vector (b, 3) in image space, brightness of key and
    sky, (b,).
    """

    direction: Tensor
    half: Tensor
    key: Tensor
    sky: Tensor


_KEY = (1.05, 0.99, 0.92)
_SKY = (0.92, 0.98, 1.07)
WRAP_SKIN = (0.42, 0.26, 0.20)  # red light travels furthest under the skin
WRAP_PLAIN = (0.25, 0.25, 0.25)


def lamp(azimuth: Tensor, contrast: Tensor, details: Tensor) -> Lamp:
    """A lamp at an azimuth in degrees; details of shape (b, 2) choose its everyday side and its
    height.
    """
    home = torch.where(details[:, 0] < 0.5, -1.0, 1.0) * 22.0
    turn = (home * (1.0 - azimuth.abs() / 90.0) + azimuth) * (torch.pi / 180.0)
    rise = 0.42 + 0.42 * details[:, 1]
    direction = torch.stack([turn.sin() * rise.cos(), rise.sin(), turn.cos() * rise.cos()], 1)
    half = direction + torch.tensor([0.0, 0.0, 1.0], device=azimuth.device)
    half = half / half.norm(dim=1, keepdim=True)
    return Lamp(direction, half, 0.96 + 0.22 * contrast, 0.40 - 0.34 * contrast)


def turned(vector: Tensor, right: Tensor, up: Tensor, towards: Tensor) -> Tensor:
    """An image-space vector in another frame; all (b, 3)."""
    return vector[:, :1] * right + vector[:, 1:2] * up + vector[:, 2:] * towards


def shade(
    albedo: Tensor,
    normal: tuple[Tensor, Tensor, Tensor],
    lamp: Lamp,
    direction: Tensor,
    sky_up: Tensor,
    open_: Tensor,
    lit: Tensor,
    wrap: tuple[float, float, float],
) -> Tensor:
    """Light an albedo (b, 3, h, w): new tensor.

    direction, sky_up: the lamp and the vertical in the frame of the normals, (b, 3); open_: share
    of the sky seen and lit: share of the lamp seen, both (b, h, w).
    """
    facing = _dot(normal, direction)
    sky = (0.80 + 0.20 * _dot(normal, sky_up)) * open_ * plane(lamp.sky)
    out = torch.empty_like(albedo)
    for i, w in enumerate(wrap):
        bright = (
            ((facing + w) * (1.0 / (1.0 + w))).clamp_(min=0.0) * lit * (plane(lamp.key) * _KEY[i])
        )
        torch.mul(albedo[:, i], bright.add_(sky, alpha=_SKY[i]), out=out[:, i])
    return out


def gloss(normal: tuple[Tensor, Tensor, Tensor], half: Tensor, sharp: float) -> Tensor:
    """Blinn's highlight for a half vector (b, 3) in the frame of the normals: (b, h, w)."""
    return torch.exp((_dot(normal, half) - 1.0) * sharp)


def edge_glow(facing_view: Tensor) -> Tensor:
    """How much a surface turns away from the view, for the soft rim of skin and hair: (b, h, w)."""
    rest = 1.0 - facing_view.clamp(0.0, 1.0)
    return smooth(rest) * rest


def _dot(normal: tuple[Tensor, Tensor, Tensor], direction: Tensor) -> Tensor:
    return (
        normal[0] * plane(direction[:, 0])
        + normal[1] * plane(direction[:, 1])
        + normal[2] * plane(direction[:, 2])
    )


dot = _dot
