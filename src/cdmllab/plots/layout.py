"""The bytes of a file, coloured by field, and landmarks on an image."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike

from cdmllab.plots.style import GRID, INK

KINDS = {
    "magic": "#d9542b",
    "length": "#c08a1e",
    "flag": "#2f6fb7",
    "label": "#2a9d7f",
    "ids": "#4a97cf",
    "labels": "#2a9d7f",
    "image": "#b86bb0",
    "padding": "#7d828a",
}
_WORDS = {"length": "part, length", "ids": "id, id2", "labels": "more labels"}


def byte_layout(
    ax: Axes, data: bytes, fields: Sequence[tuple[str, int, int]], *, columns: int = 16
) -> None:
    """Draw bytes in hexadecimal, in the colours of their fields.

    Parameters
    ----------
    ax : axes to draw on; the frame is removed
    data : the bytes
    fields : for each field its kind (a key of `KINDS`), first byte, and the byte after its last
    columns : bytes per row

    Raises
    ------
    ValueError : unknown kind of field
    """
    unknown = sorted({kind for kind, _, _ in fields} - set(KINDS))
    if unknown:
        raise ValueError(
            f"unknown kind of field {unknown[0]!r}: it must be one of {', '.join(KINDS)}"
        )
    # A cell per byte, in rows like a hex editor's.
    for kind, start, end in fields:
        for k in range(start, min(end, len(data))):
            x, y = k % columns, k // columns
            ax.add_patch(
                Rectangle(
                    (x, y), 1, 1, facecolor=KINDS[kind], alpha=0.3, edgecolor=GRID, linewidth=0.6
                )
            )
            ax.text(
                x + 0.5,
                y + 0.53,
                f"{data[k]:02x}",
                ha="center",
                va="center",
                fontsize=7.5,
                color=INK,
                family="DejaVu Sans Mono",
            )
    rows = -(-len(data) // columns)  # rounded up; their first bytes are on the left
    for row in range(rows):
        ax.text(
            -0.3, row + 0.53, str(row * columns), ha="right", va="center", fontsize=7.5, color=INK
        )
    seen = dict.fromkeys(kind for kind, _, _ in fields)  # each kind once in the legend
    handles = [
        Patch(facecolor=KINDS[kind], alpha=0.5, label=_WORDS.get(kind, kind)) for kind in seen
    ]
    ax.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, columnspacing=1.2
    )
    ax.set_xlim(-1.6, columns)
    ax.set_ylim(rows, 0)  # the first row on top
    ax.axis("off")


def landmarks(ax: Axes, image: ArrayLike, points: ArrayLike, *, title: str = "") -> None:
    """Draw an image, uint8 (height, width, 3), with numbered landmarks, shape (k, 2)."""
    ax.imshow(np.asarray(image))
    for number, (x, y) in enumerate(np.asarray(points), start=1):
        ax.plot(
            x, y, "o", color="#d9542b", markersize=4.5, markeredgecolor="white", markeredgewidth=0.7
        )
        ax.annotate(
            str(number),
            (x, y),
            # Offset of the number from its dot, in points.
            (4, 3),
            textcoords="offset points",
            fontsize=8,
            color="white",
            weight="bold",
        )
    ax.axis("off")
    ax.set_title(title)
