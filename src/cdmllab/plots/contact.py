"""Contact sheets: many photographs in one SVG drawing, compact enough for a page."""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cdmllab.plots.style import INK

_TEXT = 13  # pixels


class Drawing:
    """An SVG drawing that notebooks and the book display."""

    def __init__(self, svg: str) -> None:
        self.svg = svg

    def _repr_svg_(self) -> str:
        return self.svg


def contact_sheet(
    images: NDArray[np.uint8],
    columns: int,
    *,
    rows: Sequence[str] = (),
    heads: Sequence[str] = (),
    image_px: int | None = None,
    gap: int = 3,
    quality: int = 88,
) -> Drawing:
    """Lay out photographs row by row, as one JPEG inside an SVG with text labels.

    The labels stay text, so they take the colours of the page.

    Parameters
    ----------
    images : uint8, shape (n, height, width, 3)
    columns : images per row
    rows : labels of the rows, on the left
    heads : labels of the columns, above
    image_px : width of an image on the page, in CSS pixels; None takes half its own width, which is
        sharp on high-density screens
    gap : space between images, in image pixels
    quality : JPEG quality, 0 to 100

    Raises
    ------
    ValueError : the images have another type or shape, or the number of labels does not fit
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
        raise ValueError(
            f"images must be uint8 of shape (n, height, width, 3), got {images.dtype} "
            f"{images.shape}"
        )
    n, h, w, _ = images.shape
    lines = -(-n // columns)  # rounded up
    for labels, count, kind in ((rows, lines, "rows"), (heads, columns, "columns")):
        if labels and len(labels) != count:
            raise ValueError(f"there are {len(labels)} labels for {count} {kind}")
    unit = (image_px or w / 2) / w  # CSS pixels per image pixel
    # About 0.6 em per letter.
    left = 8 + max((0.6 * _TEXT * len(label) for label in rows), default=-8.0)
    top = _TEXT + 8 if heads else 0
    step_x, step_y = (w + gap) * unit, (h + gap) * unit  # CSS pixels
    width, height = left + step_x * columns - gap * unit, top + step_y * lines - gap * unit

    page = np.zeros((lines * (h + gap) - gap, columns * (w + gap) - gap, 3), dtype=np.uint8)
    for k in range(n):
        y, x = k // columns * (h + gap), k % columns * (w + gap)
        page[y : y + h, x : x + w] = images[k]
    # The gaps are clipped, so that the page's background shows between the images.
    cells = "".join(
        f'<rect x="{left + k % columns * step_x:.2f}" y="{top + k // columns * step_y:.2f}" '
        f'width="{w * unit:.2f}" height="{h * unit:.2f}" rx="2"/>'
        for k in range(n)
    )
    text = [
        f'<text x="{left - 8:.1f}" y="{top + (i + 0.5) * step_y + 4:.1f}" '
        f'text-anchor="end">{escape(label)}</text>'
        for i, label in enumerate(rows)
    ]
    text += [
        f'<text x="{left + (i + 0.5) * step_x:.1f}" y="{_TEXT:.1f}" '
        f'text-anchor="middle">{escape(label)}</text>'
        for i, label in enumerate(heads)
    ]
    return Drawing(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.2f} {height:.2f}" font-family="system-ui, sans-serif" '
        f'font-size="{_TEXT}" fill="{INK}">'
        f'<clipPath id="cells">{cells}</clipPath>'
        f'<image x="{left:.2f}" y="{top}" width="{width - left:.2f}" height="{height - top:.2f}" '
        f'clip-path="url(#cells)" href="data:image/jpeg;base64,{_jpeg(page, quality)}"/>'
        f"{''.join(text)}</svg>"
    )


def _jpeg(page: NDArray[np.uint8], quality: int) -> str:
    out = io.BytesIO()
    # No chroma subsampling.
    Image.fromarray(page).save(out, "JPEG", quality=quality, subsampling=0, optimize=True)
    return base64.b64encode(out.getvalue()).decode()
