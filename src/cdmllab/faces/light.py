"""Light in linear colours: wrapped Lambert shading, sky and ground, and highlights."""

from typing import NamedTuple

import torch
from torch import Tensor

from cdmllab.faces.compositing import plane, smooth


class Lamp(NamedTuple):
    """The light on b images, in image space."""

    direction: Tensor  # (b, 3), unit vector towards the lamp
    half: Tensor  # (b, 3), half vector of lamp and view
    key: Tensor  # (b,), brightness of the lamp
    sky: Tensor  # (b,), brightness of the surroundings


_KEY = (1.05, 0.99, 0.92)  # colour of the lamp, a little warm
_SKY = (0.92, 0.98, 1.07)  # colour of the surroundings, a little cool
# How far light wraps around the terminator, per channel: red light travels furthest in skin.
WRAP_SKIN = (0.42, 0.26, 0.20)
WRAP_PLAIN = (0.25, 0.25, 0.25)


def lamp(azimuth: Tensor, contrast: Tensor, details: Tensor) -> Lamp:
    """A lamp at an azimuth in degrees, shape (b,); 90 is the right of the image.

    `details` (b, 2) in (0, 1) choose the side of its neutral position and its height.
    """
    # At azimuth 0 the lamp is 22 degrees to one side: light from the camera flattens a face.
    home = torch.where(details[:, 0] < 0.5, -1.0, 1.0) * 22.0
    # The neutral angle counts less and less as the lamp turns to 90 degrees.
    turn = (home * (1.0 - azimuth.abs() / 90.0) + azimuth) * (torch.pi / 180.0)
    rise = 0.42 + 0.42 * details[:, 1]
    # `rise` is the lamp's elevation in radians.
    direction = torch.stack([turn.sin() * rise.cos(), rise.sin(), turn.cos() * rise.cos()], 1)
    half = direction + torch.tensor([0.0, 0.0, 1.0], device=azimuth.device)
    half = half / half.norm(dim=1, keepdim=True)
    # More contrast is a brighter lamp in darker surroundings.
    return Lamp(direction, half, 0.96 + 0.22 * contrast, 0.40 - 0.34 * contrast)


def turned(vector: Tensor, right: Tensor, up: Tensor, towards: Tensor) -> Tensor:
    """Express an image-space vector in the frame with these axes; all of shape (b, 3)."""
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
    """Shade an albedo (b, 3, h, w) by lamp and sky; returns a new tensor of the same shape.

    Parameters
    ----------
    normal : unit normals, three tensors of shape (b, h, w)
    direction, sky_up : lamp and vertical in the frame of the normals, shape (b, 3)
    open_ : share of the sky that a point sees, shape (b, h, w)
    lit : share of the lamp that a point sees, shape (b, h, w)
    wrap : see `WRAP_SKIN`
    """
    facing = dot(normal, direction)
    # A little darker from below.
    sky = (0.80 + 0.20 * dot(normal, sky_up)) * open_ * plane(lamp.sky)
    out = torch.empty_like(albedo)
    for i, w in enumerate(wrap):
        bright = (
            # Wrapped Lambert: surfaces turned away from the lamp are lit up to a cosine of -w.
            ((facing + w) * (1.0 / (1.0 + w))).clamp_(min=0.0) * lit * (plane(lamp.key) * _KEY[i])
        )
        torch.mul(albedo[:, i], bright.add_(sky, alpha=_SKY[i]), out=out[:, i])
    return out


def gloss(normal: tuple[Tensor, Tensor, Tensor], half: Tensor, sharp: float) -> Tensor:
    """Blinn's highlight, shape (b, h, w); `half` (b, 3) is in the frame of the normals."""
    return torch.exp((dot(normal, half) - 1.0) * sharp)


def edge_glow(facing_view: Tensor) -> Tensor:
    """Brightness of the soft rim where a surface turns away from the view: (b, h, w)."""
    rest = 1.0 - facing_view.clamp(0.0, 1.0)
    return smooth(rest) * rest


def dot(normal: tuple[Tensor, Tensor, Tensor], direction: Tensor) -> Tensor:
    """Dot product of normals and a direction (b, 3): (b, h, w)."""
    return (
        normal[0] * plane(direction[:, 0])
        + normal[1] * plane(direction[:, 1])
        + normal[2] * plane(direction[:, 2])
    )
