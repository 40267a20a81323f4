"""Effects of the camera: exposure, colour cast, blur, low resolution and noise."""

import torch
from torch import Tensor

from cdmllab.faces import hashing

_WARM = (0.40, 0.0, -0.65)  # stops per channel (RGB) at a cast of 1


def develop(linear: Tensor, exposure: Tensor, cast: Tensor) -> Tensor:
    """Convert linear colours (b, 3, h, w) to display colours in [0, 1], with a soft shoulder.

    An exposure of 1 is 1.4 stops brighter, one of -1 is 2.2 stops darker; a cast of 1 is the yellow
    of lamplight, one of -1 the blue of deep shade. Both have shape (b,).
    """
    stops = torch.where(exposure > 0, 1.4, 2.2) * exposure
    channels = stops[:, None] + cast[:, None] * torch.tensor(_WARM, device=cast.device)
    bright = linear.clamp(min=0.0) * torch.exp2(channels)[:, :, None, None]
    # The fraction bends highlights towards white; the square root is the display's gamma of 2.
    return (bright * 1.12 / (1.0 + 0.18 * bright)).clamp_(0.0, 1.0).sqrt_()


def optics(blur: Tensor, low_resolution: Tensor, size: int) -> Tensor:
    """Blur and loss of resolution along one axis, as a matrix of shape (b, size, size).

    Both effects are separable, so this matrix applies to rows and columns alike.
    """
    # A Gaussian kernel; without blur sigma is so small that the matrix is the identity.
    ticks = torch.arange(size, device=blur.device, dtype=torch.float32)
    sigma = (blur * 0.035 * size).clamp(min=1e-3)[:, None, None]
    kernel = torch.exp(-0.5 * ((ticks[:, None] - ticks[None, :]) / sigma) ** 2)
    kernel = kernel / kernel.sum(2, keepdim=True)
    # Down to between `size` and 12 cells with a box filter, and back up by linear interpolation.
    # A cell is from 1 to size / 12 pixels wide.
    cell = torch.exp2(low_resolution * torch.log2(torch.tensor(size / 12.0)).item())[:, None, None]
    # The centre of each pixel in units of cells, for the interpolation on the way up.
    centre = (ticks[None, :, None] + 0.5) / cell - 0.5
    low = torch.arange(size, device=blur.device, dtype=torch.float32)[None, None, :]
    centre = torch.minimum(centre.clamp(min=0.0), (size / cell).ceil() - 1.0)
    rise = (1.0 - (centre - low).abs()).clamp(min=0.0)  # (b, size, cells)
    # Share of each pixel in each cell, for the average on the way down.
    left, right = low.transpose(1, 2) * cell, (low.transpose(1, 2) + 1.0) * cell
    down = (torch.minimum(right, ticks + 1.0) - torch.maximum(left, ticks)).clamp(0.0, 1.0)
    down = down / down.sum(2, keepdim=True).clamp(min=1e-6)  # (b, cells, size)
    return rise @ (down @ kernel)


def soften(image: Tensor, blur: Tensor, low_resolution: Tensor) -> Tensor:
    """Blur and coarsen images (b, 3, s, s); those with neither stay unchanged bit for bit."""
    # Only images with an effect are multiplied.
    rows = ((blur > 0) | (low_resolution > 0)).nonzero()[:, 0]
    if len(rows) == 0:
        return image
    matrix = optics(blur[rows], low_resolution[rows], image.shape[-1])[:, None]
    out = image.clone()
    out[rows] = matrix @ image[rows] @ matrix.transpose(2, 3)  # along columns and along rows
    return out


def grain(image: Tensor, noise: Tensor, keys: Tensor) -> Tensor:
    """Add pixel noise with a standard deviation of up to 0.115 to images (b, 3, h, w)."""
    rows = (noise > 0).nonzero()[:, 0]
    if len(rows) == 0:
        return image
    out = image.clone()
    speckle = hashing.pixel_noise(keys[rows], *image.shape[1:])
    out[rows] = (image[rows] + 0.115 * noise[rows, None, None, None] * speckle).clamp_(0.0, 1.0)
    return out
