"""Brushes: soft shapes from signed distances, and colours blended over each other.

The edges of shapes are a pixel wide, so that images have no jagged lines at any size.
"""

import functools

import torch
from torch import Tensor

from cdmllab.faces import hashing


def plane(x: Tensor) -> Tensor:
    """Reshape (b,) to (b, 1, 1), to broadcast over pixels."""
    return x[:, None, None]


def inside(distance: Tensor, soft: float) -> Tensor:
    """Share of a pixel inside a shape.

    Parameters
    ----------
    distance : signed distance to the shape's edge, negative inside
    soft : width of the edge
    """
    return (distance * (-1.0 / soft) + 0.5).clamp_(0.0, 1.0)


def stripe(distance: Tensor, half: Tensor | float, soft: float) -> Tensor:
    """Share of a pixel inside a band |distance| < half.

    A band thinner than a pixel becomes paler, not wider. `soft` is the width of its edges.
    """
    return ((half - distance) * (1.0 / soft) + 0.5).clamp_(0.0, 1.0) - (
        (-half - distance) * (1.0 / soft) + 0.5
    ).clamp_(0.0, 1.0)


def spot(u: Tensor, v: Tensor) -> Tensor:
    """A Gaussian spot exp(-(u^2 + v^2))."""
    return torch.addcmul(u * u, v, v).neg_().exp_()


def smooth(x: Tensor) -> Tensor:
    """The cubic step from 0 at 0 to 1 at 1 (smoothstep)."""
    x = x.clamp(0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


def lay(image: Tensor, colour: Tensor, cover: Tensor) -> None:
    """Blend a colour over an image (b, 3, h, w), in place.

    Parameters
    ----------
    colour : shape (b, 3) or (b, 3, h, w)
    cover : opacity, shape (b, h, w)
    """
    image.lerp_(colour[:, :, None, None] if colour.ndim == 2 else colour, cover[:, None])


def tint(image: Tensor, colour: Tensor, cover: Tensor) -> None:
    """Multiply an image by a colour (3,) or (b, 3) where `cover` (b, h, w) is 1, in place."""
    colour = colour.expand(image.shape[0], 3)
    # 1 + (colour - 1) x cover: no change where the cover is 0.
    image.mul_(
        torch.addcmul(
            torch.ones((), device=cover.device), (colour - 1.0)[:, :, None, None], cover[:, None]
        )
    )


@functools.lru_cache(maxsize=8)
def value_noise(device: torch.device) -> Tensor:
    """Tileable value noise in three octaves, of variance 1: shape (1, 1, 256, 256)."""
    total = torch.zeros(1, 1, 256, 256)
    for octave, cells in enumerate((64, 128, 256)):
        # One random number per cell; each octave has half the cell size and 0.6 of the amplitude.
        lattice = (
            hashing.uniform(hashing.key(77, octave, torch.arange(cells)), cells)[None, None] - 0.5
        )
        # Wrapped around before the interpolation and cropped after it: the tile has no seam.
        lattice = torch.nn.functional.pad(lattice, (2, 2, 2, 2), mode="circular")
        fine = torch.nn.functional.interpolate(
            lattice, scale_factor=256 // cells, mode="bicubic", align_corners=False
        )
        edge = 2 * (256 // cells)
        total += fine[:, :, edge:-edge, edge:-edge] * 0.6**octave
    return (total / total.std()).to(device)


def noise(u: Tensor, v: Tensor) -> Tensor:
    """Smooth noise of variance 1 at coordinates (b, h, w); their unit is one tile of 64 cells."""
    # Wrap to one tile, and map it to [-1, 1] for `grid_sample`.
    position = torch.stack([u - u.floor(), v - v.floor()], dim=-1) * 2.0 - 1.0
    texture = value_noise(u.device).expand(u.shape[0], 1, 256, 256)
    return torch.nn.functional.grid_sample(
        texture, position, "bilinear", "border", align_corners=False
    )[:, 0]
