"""Sheets of images."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray


def sheet(images: ArrayLike, columns: int, gap: int = 1) -> NDArray[np.float64]:
    """Lay images out row by row, separated by NaN, which is transparent when drawn.

    Parameters
    ----------
    images : shape (n, channels, height, width), channels 1 or 3
    columns : images per row
    gap : pixels between images

    Returns
    -------
    Array of pixels, shape (height, width) for grey images and (height, width, 3) for colour.

    Raises
    ------
    ValueError : the images have another shape
    """
    x = np.asarray(images, dtype=np.float64)
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"images must have shape (n, 1 or 3, height, width), got {x.shape}")
    n, channels, height, width = x.shape
    rows = -(-n // columns)  # rounded up
    page = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), np.nan)
    for k in range(n):
        top, left = k // columns * (height + gap), k % columns * (width + gap)
        page[top : top + height, left : left + width] = x[k].transpose(1, 2, 0)  # channels last
    return page[..., 0] if channels == 1 else page


def images(ax: Axes, images: ArrayLike, *, columns: int, title: str = "") -> None:
    """Draw images in [-1, 1] as a sheet; grey images are dark on light, as ink on paper.

    Parameters
    ----------
    ax : axes to draw on; the frame is removed
    images : shape (n, channels, height, width), channels 1 or 3
    columns : images per row
    title : title of the axes
    """
    ax.imshow(
        coloured(sheet(images, columns)),
        cmap="gray_r",
        vmin=-1.0,
        vmax=1.0,
        interpolation="nearest",
    )
    ax.axis("off")
    ax.set_title(title)


def coloured(page: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert a colour sheet in [-1, 1] to RGBA in [0, 1], transparent for NaN; grey is kept."""
    if page.ndim == 2:
        return page
    alpha = np.isfinite(page[..., :1]).astype(np.float64)  # NaN is transparent
    return np.concatenate([np.nan_to_num((page + 1.0) / 2.0), alpha], axis=2)
