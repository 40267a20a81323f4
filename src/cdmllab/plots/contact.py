"""Contact sheets: many photographs in one drawing, small enough for a page."""

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
    """An SVG that a notebook and the book show."""

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
    shown: int | None = None,
    gap: int = 3,
    quality: int = 88,
) -> Drawing:
    """Photographs row by row: one JPEG inside a drawing whose labels stay text, in the colours of
    the page.

    Parameters
    ----------
    images : uint8, shape (n, height, width, 3)
    columns : images a row
    rows : a label for each row, on its left
    heads : a label for each column, above
    shown : width of an image on the page, in CSS pixels; None takes half its own, sharp on dense
        screens
    gap : between images, in pixels of theirs
    quality : of the JPEG

    Raises
    ------
    ValueError : images of another form, or labels that do not fit the rows or columns
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
        raise ValueError(
            f"images must be uint8 of shape (n, height, width, 3), got {images.dtype} "
            f"{images.shape}"
        )
    n, h, w, _ = images.shape
    lines = -(-n // columns)
    for labels, count, what in ((rows, lines, "rows"), (heads, columns, "columns")):
        if labels and len(labels) != count:
            raise ValueError(f"{len(labels)} labels do not fit {count} {what}")
    unit = (shown or w / 2) / w
    left = 8 + max((0.6 * _TEXT * len(label) for label in rows), default=-8.0)
    top = _TEXT + 8 if heads else 0
    step_x, step_y = (w + gap) * unit, (h + gap) * unit
    width, height = left + step_x * columns - gap * unit, top + step_y * lines - gap * unit

    page = np.zeros((lines * (h + gap) - gap, columns * (w + gap) - gap, 3), dtype=np.uint8)
    for k in range(n):
        y, x = k // columns * (h + gap), k % columns * (w + gap)
        page[y : y + h, x : x + w] = images[k]
    # Gaps are cut out, so that the page shows between the images whatever its colour.
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
    Image.fromarray(page).save(out, "JPEG", quality=quality, subsampling=0, optimize=True)
    return base64.b64encode(out.getvalue()).decode()
