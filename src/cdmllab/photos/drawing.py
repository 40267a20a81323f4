"""The two drawings of the report: a table of cosines as PNG, and two histograms as SVG.

They need no plotting library, and the SVG follows the page's colours.
"""

import base64
import io
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cdmllab.photos.thresholds import Pairs

MOST_FACES = 600  # of a table with a cell per face; with more, a cell is a person
_SCALE = np.array(  # dark blue over green to yellow: equally readable on white and on black
    [[48, 18, 90], [52, 68, 130], [38, 115, 130], [38, 160, 118], [140, 200, 70], [250, 230, 70]],
    dtype=np.float64,
)
_WIDTH, _HEIGHT, _BINS = 640, 200, 64


def picture_url(data: bytes, kind: str) -> str:
    """An image as a data URL; `kind` is ``jpeg`` or ``png``."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def colours(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """RGB colours of numbers between two ends, shape (..., 3)."""
    at = np.clip((np.asarray(values, dtype=np.float64) - low) / (high - low), 0.0, 1.0)
    steps = np.linspace(0.0, 1.0, len(_SCALE))
    channels = [np.interp(at, steps, _SCALE[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def means(cosines: NDArray[np.float32], group: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean cosine between the faces of each two groups, shape (groups, groups)."""
    groups, count = np.unique(group, return_counts=True)
    member = (group[:, None] == groups[None, :]).astype(np.float32)  # one-hot
    total = member.T @ cosines @ member
    mean: NDArray[np.float32] = (total / np.outer(count, count)).astype(np.float32)
    return mean


def matrix(cosines: NDArray[np.float32], group: NDArray[np.int64], names: tuple[str, ...]) -> str:
    """The table of cosines as SVG around a PNG, ordered by group.

    Lines divide the groups, which are named where there is room.

    Parameters
    ----------
    cosines : shape (n, n), n at most `MOST_FACES`
    group : shape (n,), in ascending order
    names : of the groups
    """
    n = len(group)
    # Nearly all cosines are above the first percentile, rounded down to a tenth.
    low = float(np.floor(10 * np.quantile(cosines, 0.01)) / 10)
    image = Image.fromarray(colours(cosines, low, 1.0))
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    side, margin = 640.0, 150.0
    unit = side / n
    # Groups are runs of rows; each is a square on the diagonal.
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1])).tolist()
    ends = [*starts[1:], n]
    grouped = len(starts) < n
    lines, words = [], []
    for start, end in zip(starts, ends, strict=True):
        at = start * unit
        if grouped and start:
            lines.append(f"M{margin + at:.1f} 0v{side:.0f}M{margin:.0f} {at:.1f}h{side:.0f}")
        if (end - start) * unit >= 12:  # room for a line of text
            name = names[int(group[start])]
            short = name if len(name) <= 18 else f"{name[:17]}…"
            words.append(
                f'<text x="{margin - 6:.0f}" y="{(start + end) / 2 * unit + 4:.1f}">'
                f"{escape(short)}</text>"
            )
    ticks = "".join(
        f'<text x="{margin + side * k / 4:.0f}" y="{side + 46:.0f}" class="tick">'
        f"{low + (1 - low) * k / 4:.2f}</text>"
        for k in range(5)
    )
    # The key below the table: the colours from the lowest score to 1.
    bar = Image.fromarray(colours(np.linspace(0.0, 1.0, 256)[None], 0.0, 1.0))
    strip = io.BytesIO()
    bar.save(strip, "PNG")
    return (
        f'<svg class="matrix" viewBox="0 0 {margin + side + 20:.0f} {side + 52:.0f}" role="img" '
        f'aria-label="Cosines of all faces with each other">'
        f'<image href="{picture_url(content.getvalue(), "png")}" x="{margin:.0f}" y="0" '
        f'width="{side:.0f}" height="{side:.0f}" preserveAspectRatio="none"/>'
        f'<path d="{"".join(lines)}"/>{"".join(words)}'
        f'<image href="{picture_url(strip.getvalue(), "png")}" x="{margin:.0f}" '
        f'y="{side + 18:.0f}" width="{side:.0f}" height="10" preserveAspectRatio="none"/>'
        f"{ticks}</svg>"
    )


def histograms(pairs: Pairs, marks: list[tuple[float, str]]) -> str:
    """Scores of one person's pairs and of strangers' as two areas of equal size, with thresholds.

    Parameters
    ----------
    marks : a score and the class of its line, see the page's style
    """
    # The axis begins at a tenth, low enough for all scores and thresholds.
    lowest = min([float(pairs.scores.min()), *(mark for mark, _ in marks)])
    low = float(np.floor(10 * lowest) / 10)
    edges = np.linspace(low, 1.0, _BINS + 1)
    # Shares of each kind, so that few genuine pairs are as visible as many of strangers.
    shares = [
        np.histogram(pairs.scores[rows], edges)[0] / max(int(rows.sum()), 1)
        for rows in (~pairs.same, pairs.same)
    ]
    top = max(float(share.max()) for share in shares)

    def across(score: float) -> float:
        return _WIDTH * (score - low) / (1.0 - low)

    areas = []
    for share, name in zip(shares, ("strangers", "genuine"), strict=True):
        # Steps of a bar each: down or up to its height, then across to its right edge.
        heights = _HEIGHT * (1.0 - share / top)
        steps = "".join(
            f"V{y:.1f}H{across(right):.1f}" for y, right in zip(heights, edges[1:], strict=True)
        )
        areas.append(f'<path class="{name}" d="M0 {_HEIGHT}{steps}V{_HEIGHT}Z"/>')
    lines = "".join(
        f'<path class="mark {kind}" d="M{across(score):.1f} 0V{_HEIGHT}"/>' for score, kind in marks
    )
    ticks = "".join(
        f'<text x="{across(score):.1f}" y="{_HEIGHT + 18}" class="tick">{score:.1f}</text>'
        for score in np.arange(low, 1.01, 0.1 if low > 0.3 else 0.2)
    )
    return (
        f'<svg class="histogram" viewBox="-24 -4 {_WIDTH + 48} {_HEIGHT + 28}" role="img" '
        f'aria-label="Scores of pairs of strangers and of one person">'
        f'{"".join(areas)}{lines}<path class="axis" d="M0 {_HEIGHT}H{_WIDTH}"/>{ticks}</svg>'
    )
