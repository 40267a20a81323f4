"""Faces on the page: a face with its caption, pairs, and the contact sheet."""

import re
from collections.abc import Callable, Iterable
from html import escape

from cdmllab.photos import drawing
from cdmllab.photos.album import Item
from cdmllab.photos.comparison import FacePair
from cdmllab.photos.report import Findings

MOST_SHOWN = 24  # faces of a group on the contact sheet
MOST_GROUPS = 150


def pairs(findings: Findings, some: list[FacePair], intro: str) -> str:
    """Pairs of faces with their scores, below an introduction."""
    if not some:
        return "<p>No such pair.</p>"
    figures = [pair(findings, (two.first, two.second), f"cosine {two.cosine:.3f}") for two in some]
    return f'<p>{escape(intro)}</p><div class="pairs">{"".join(figures)}</div>'


def pair(findings: Findings, rows: Iterable[int], score: str) -> str:
    """Two faces, by their rows, with a caption."""
    faces = "".join(face(findings.album.items[row]) for row in rows)
    return (
        f'<div class="pair"><div class="score">{escape(score)}</div>'
        f'<div class="two">{faces}</div></div>'
    )


def face(item: Item, caption: Callable[[Item], str] | None = None) -> str:
    """A face and its caption, by default the photo's path and anything unusual about the face."""
    text = _caption(item) if caption is None else caption(item)
    return (
        f'<figure><img src="{drawing.picture_url(item.jpeg, "jpeg")}" width="112" height="112" '
        f'alt="face in {escape(item.photo)}"><figcaption>{_breakable(text)}</figcaption></figure>'
    )


def _breakable(text: str) -> str:
    """Escape a text as HTML in which lines may break after the punctuation of file names."""
    return re.sub(r"([/_.-])", r"\1<wbr>", escape(text))  # <wbr>: a line may break here


def _caption(item: Item) -> str:
    return "; ".join([item.photo, *_notes(item)])


def _notes(item: Item) -> list[str]:
    """Anything unusual about a face."""
    notes = []
    if item.total > 1:
        place = "largest" if item.number == 1 else f"number {item.number} by size"
        notes.append(f"{place} of {item.total} faces")
    if item.turned:
        notes.append(f"rotated by {item.turned}°")
    if item.eyes_px < 20:
        notes.append(f"only {item.eyes_px:.0f} pixels between the eyes")
    return notes


def sheet(findings: Findings) -> str:
    """The contact sheet, group by group."""
    # Rows by group, in the order of the groups' first faces.
    rows: dict[int, list[int]] = {}
    for row, group in enumerate(findings.group.tolist()):
        rows.setdefault(group, []).append(row)
    parts = []
    for group, members in list(rows.items())[:MOST_GROUPS]:
        faces = "".join(face(findings.album.items[row], _short) for row in members[:MOST_SHOWN])
        more = len(members) - MOST_SHOWN
        parts.append(
            f"<h3>{escape(findings.names[group])} <small>{len(members):,}"
            f"{f', {more:,} not shown' if more > 0 else ''}</small></h3>"
            f'<div class="sheet">{faces}</div>'
        )
    if len(rows) > MOST_GROUPS:
        parts.append(f"<p>{len(rows) - MOST_GROUPS:,} more are not shown.</p>")
    return "".join(parts)


def _short(item: Item) -> str:
    return "; ".join([item.photo.rpartition("/")[2], *_notes(item)])  # the file name only
