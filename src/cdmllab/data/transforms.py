"""Augmentation: flip, crop, colour jitter and rotation, drawn from a seed and then applied.

Drawing (`draw`) is separate from applying: image by image with torchvision (`apply_each`, the
readable one, for the CPU), or a batch at a time (`apply_batch`, for the GPU).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_LUMA = (0.2989, 0.587, 0.114)  # torchvision's weights


@dataclass(frozen=True)
class Augmentation:
    """The range of each change; 0 turns it off.

    Parameters
    ----------
    flip : probability of a mirror image
    crop_px : width of the black border that is added before cropping at a random position
    brightness, contrast, saturation : factors are drawn from [1 - x, 1 + x]
    rotation_deg : angles are drawn from [-x, x]
    """

    flip: float = 0.0
    crop_px: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    rotation_deg: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.flip <= 1.0:
            raise ValueError(f"flip must lie in [0, 1], got {self.flip}")
        for name in ("brightness", "contrast", "saturation"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.crop_px < 0 or not 0.0 <= self.rotation_deg <= 180.0:
            raise ValueError("crop_px must be 0 or more, and rotation_deg lie in [0, 180]")


AUGMENTATIONS = {
    "none": Augmentation(),
    "flip": Augmentation(flip=0.5),  # as in DATN's code
    "small": Augmentation(flip=0.5, crop_px=2),  # for images of 32 to 64 pixels
    # DATN's page names the four changes and the angle; the sizes of crop and jitter are ours.
    "datn_page": Augmentation(
        flip=0.5, crop_px=8, brightness=0.2, contrast=0.2, saturation=0.2, rotation_deg=10.0
    ),
}  # fmt: skip


class AugmentationDraw(NamedTuple):
    """The changes of each image of a batch."""

    flip: Tensor  # [b] bool
    shift_px: Tensor  # [b, 2] int64, the window's move to the right and down
    brightness: Tensor  # [b] float32, factors
    contrast: Tensor  # [b]
    saturation: Tensor  # [b]
    rotation_deg: Tensor  # [b], counter-clockwise

    def to(self, device: torch.device | str) -> "AugmentationDraw":
        """A copy on another device, without waiting for it."""
        return AugmentationDraw(*(part.to(device, non_blocking=True) for part in self))


_NEUTRAL = (False, 0, 1.0, 1.0, 1.0, 0.0)  # the value of each field that changes nothing


def named(augmentation: str | Augmentation) -> Augmentation:
    """One of `AUGMENTATIONS` by its name; an `Augmentation` as it is.

    Raises
    ------
    ValueError : there is none of that name
    """
    if isinstance(augmentation, Augmentation):
        return augmentation
    if augmentation not in AUGMENTATIONS:
        raise ValueError(
            f"unknown augmentation {augmentation!r}; there are: {', '.join(AUGMENTATIONS)}"
        )
    return AUGMENTATIONS[augmentation]


def draw(augmentation: Augmentation, count: int, *key: int) -> AugmentationDraw:
    """Draw the changes of `count` images; they follow from the key (seed, epoch, position)."""
    a, rng = augmentation, np.random.default_rng(key)
    u = torch.from_numpy(rng.random((5, count), dtype=np.float32))  # [5, b], uniform in [0, 1)
    shift = rng.integers(-a.crop_px, a.crop_px + 1, size=(count, 2))
    to_each_side = 2.0 * u[1:] - 1.0  # [4, b], in [-1, 1)
    return AugmentationDraw(
        flip=u[0] < a.flip,
        shift_px=torch.from_numpy(shift),
        brightness=1.0 + a.brightness * to_each_side[0],
        contrast=1.0 + a.contrast * to_each_side[1],
        saturation=1.0 + a.saturation * to_each_side[2],
        rotation_deg=a.rotation_deg * to_each_side[3],
    )


def apply_each(images: Tensor, drawn: AugmentationDraw) -> Tensor:
    """Apply image by image with torchvision, to uint8 [b, 1 or 3, h, w]; for the CPU."""
    # Imported late, because it takes seconds.
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as tv

    out = torch.empty_like(images)
    for k, image in enumerate(images):
        x = tv.horizontal_flip(image) if drawn.flip[k] else image
        # The window moves right and down, so the image moves left and up.
        dx, dy = drawn.shift_px[k].tolist()
        if dx or dy:
            x = tv.affine(x, angle=0.0, translate=[-dx, -dy], scale=1.0, shear=[0.0, 0.0])
        for change, factors in (
            (tv.adjust_brightness, drawn.brightness),
            (tv.adjust_contrast, drawn.contrast),
            (tv.adjust_saturation, drawn.saturation),
        ):
            # A factor of one changes nothing, and skipping it saves time.
            if (factor := float(factors[k])) != 1.0:
                x = change(x, factor)
        if angle := float(drawn.rotation_deg[k]):
            x = tv.rotate(x, angle, interpolation=InterpolationMode.BILINEAR)
        out[k] = x
    return out


def apply_batch(images: Tensor, drawn: AugmentationDraw) -> Tensor:
    """Apply to a batch at once, on its device; equal to `apply_each` up to one grey level.

    The draws are on the CPU. Whether any image needs a change is decided there, so that nothing
    waits for the GPU.
    """
    # One flag per field: whether any image of the batch changes.
    changes = (bool((part != neutral).any()) for part, neutral in zip(drawn, _NEUTRAL, strict=True))
    flip, shift, *colour, rotation = changes
    brightness, contrast, saturation = colour
    d = drawn.to(images.device)
    x = images
    if flip:
        x = torch.where(_per_image(d.flip), x.flip(3), x)
    if shift:
        x = _shifted(x, d.shift_px, int(drawn.shift_px.abs().max()))
    if not rotation and not any(colour):
        # Flips and shifts only move pixels, so they stay uint8.
        return x
    x = x.to(torch.float32)
    if brightness:
        x = (x * _per_image(d.brightness)).clamp(0.0, 255.0).floor()
    if contrast:
        # Contrast blends with the mean grey level of
        # each image, saturation with its own grey image.
        mean = _grey(x).floor().mean(dim=(1, 2, 3), keepdim=True)
        x = _blend(x, mean, d.contrast)
    if saturation and images.shape[1] == 3:
        x = _blend(x, _grey(x), d.saturation)
    if rotation:
        x = _rotated(x, d.rotation_deg)
    return x.round().clamp(0.0, 255.0).to(torch.uint8)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    f = _per_image(factor)
    # torchvision truncates to whole grey levels after each change.
    return (f * x + (1.0 - f) * other).clamp(0.0, 255.0).floor()


def _grey(x: Tensor) -> Tensor:
    if x.shape[1] == 1:
        return x
    weights = torch.tensor(_LUMA, dtype=x.dtype).to(x.device, non_blocking=True)
    return (x * weights[:, None, None]).sum(dim=1, keepdim=True)


def _shifted(x: Tensor, shift_px: Tensor, pad: int) -> Tensor:
    """Shift by at most `pad` pixels; what comes from outside is black."""
    b, c, h, w = x.shape
    padded = F.pad(x, (pad, pad, pad, pad))
    # Row and column of the padded image for each row and column of the result.
    columns = torch.arange(w, device=x.device) + shift_px[:, :1] + pad  # [b, w]
    rows = torch.arange(h, device=x.device) + shift_px[:, 1:] + pad  # [b, h]
    down = padded.gather(2, rows[:, None, :, None].expand(b, c, h, w + 2 * pad))
    return down.gather(3, columns[:, None, None, :].expand(b, c, h, w))


def _rotated(x: Tensor, angle_deg: Tensor) -> Tensor:
    """Rotate bilinearly, black outside.

    The grid's unit is half the width or height, so the ratios h / w undo the stretch of an image
    that is not square.
    """
    h, w = x.shape[2:]
    a = torch.deg2rad(angle_deg.to(torch.float32))
    # The grid maps output to input coordinates, so it rotates in the opposite direction.
    cos, sin, zero = a.cos(), a.sin(), torch.zeros_like(a)
    theta = torch.stack(
        [torch.stack([cos, -sin * h / w, zero], 1), torch.stack([sin * w / h, cos, zero], 1)], 1
    )
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
