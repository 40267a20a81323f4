"""The report as one HTML file: no script, nothing from elsewhere, and a rule in its head that
forbids a browser to load anything.
"""

import re
from collections.abc import Callable, Iterable
from html import escape
from importlib.resources import files

import numpy as np

from cdmllab.data.walk import summary
from cdmllab.photos import drawing, words
from cdmllab.photos.album import Item, Network
from cdmllab.photos.comparison import Couple
from cdmllab.photos.report import Findings
from cdmllab.photos.thresholds import Threshold

_RULE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
MOST_SHOWN = 24  # faces of a group on the contact sheet
MOST_GROUPS = 150


def page(found: Findings, network: Network, detector: str) -> str:
    """The whole page."""
    known = bool(found.album.source.people)
    title = f"Photos in {found.album.source.root.resolve().name}"
    sections: list[tuple[str, str, str]] = [
        ("thresholds", "Which score is enough?", _thresholds(found, network)),
        ("cannot", "What a score cannot say", f'<div class="say">{words.paragraphs()}</div>'),
        ("matrix", "Every face against every other", _matrix(found)),
        (
            "strangers",
            "The most alike strangers" if known else "The most alike faces of different groups",
            _couples(found, found.strangers, _STRANGERS[known]),
        ),
        (
            "least",
            "The least alike photos of one person"
            if known
            else "The least alike faces of one group",
            _couples(found, found.least_alike, _LEAST[known]),
        ),
        (
            "suspects",
            "Labels that may be wrong" if known else "Groups that may be wrong",
            _suspects(found) if known else _one_photo(found),
        ),
        ("sheet", "Contact sheet", _sheet(found)),
        ("missing", "Photos that were not compared", _missing(found)),
    ]
    links = "".join(f'<a href="#{key}">{escape(head)}</a>' for key, head, _ in sections)
    body = "".join(
        f'<section><h2 id="{key}">{escape(head)}</h2>{content}</section>'
        for key, head, content in sections
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_RULE}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_style()}</style></head><body>"
        f"<header><h1>{escape(title)}</h1>{_intro(found, network, detector)}<nav>{links}</nav>"
        f"</header>{body}</body></html>\n"
    )


def _style() -> str:
    return (files("cdmllab.photos") / "page.css").read_text(encoding="utf-8")


def _intro(found: Findings, network: Network, detector: str) -> str:
    source, prepare = found.album.source, network.prepare
    seen = f"{prepare['size']} × {prepare['size']} pixels, {prepare['channels']}"
    facts = [
        ("photos", f"{len(source.photos):,}", ""),
        ("faces compared", f"{len(found.album.items):,}", ""),
        ("people" if source.people else "groups by likeness", f"{_groups(found):,}", ""),
        ("not compared", f"{len(found.album.missing):,}", ""),
        ("network", f"{escape(network.name)}<br><small>{seen}</small>", "text"),
        ("detector", escape(detector), "text"),
    ]
    tiles = "".join(
        f'<div><dt>{name}</dt><dd class="{kind}">{value}</dd></div>' for name, value, kind in facts
    )
    return (
        '<p class="lead">Faces were found, aligned and compared on this machine. This file holds '
        "small images of them: treat it like the photos themselves.</p>"
        f'<dl class="facts">{tiles}</dl>'
    )


def _groups(found: Findings) -> int:
    return len(set(found.group.tolist()))


def _thresholds(found: Findings, network: Network) -> str:
    far = f"{found.far:g}"
    parts = [
        f"<p>A couple of photos counts as one person from some cosine upwards. Below are the "
        f"thresholds at which {100 * found.far:g} % of couples of strangers would be accepted (a "
        f"FAR of {far}), with 95 % intervals.</p>"
    ]
    rows = [_row("these photos", found.here)]
    if not isinstance(found.elsewhere, str) and found.carried is not None:
        carried = found.carried
        effect = (
            f"here it accepts {words.percent(carried.far)} of couples of strangers and "
            f"{words.percent(carried.tar)} of couples of one person"
        )
        rows.append(_row(_own(found.elsewhere, network), found.elsewhere, effect))
    else:
        rows.append(_row(_own(found.elsewhere, network), found.elsewhere))
    parts.append(
        '<div class="wide"><table><tr><th>from</th><th>threshold</th><th>what to know</th></tr>'
        f"{''.join(rows)}</table></div>"
    )
    if found.halves:
        tried = " and ".join(words.percent(half.far) for half in found.halves)
        parts.append(
            "<p>A threshold looks better on the people it was chosen on. Chosen on one half of "
            f"the people and tried on the other, it accepted {tried} of couples of strangers.</p>"
        )
    if found.cut is not None:
        parts.append(f"<p>Groups by likeness were cut at a mean cosine of {found.cut:.3f}.</p>")
    if found.pairs is not None:
        genuine = len(found.pairs.scores) - found.pairs.strangers
        marks = [
            (limit.cosine, kind)
            for limit, kind in ((found.here, "here"), (found.elsewhere, "calibration"))
            if not isinstance(limit, str)
        ]
        parts.append(
            f'<div class="key"><span><i class="strangers"></i>{found.pairs.strangers:,} couples of '
            f'strangers</span><span><i class="genuine"></i>{genuine:,} couples of one person'
            "</span>"
            + "".join(_LINES[kind] for _, kind in marks)
            + f"</div>{drawing.histograms(found.pairs, marks)}"
            '<p class="soft">Both areas have the same size, whatever the number of couples. The '
            "further they overlap, the less a score decides.</p>"
        )
    return "".join(parts)


_LINES = {
    "here": '<span><i class="line"></i>threshold from these photos</span>',
    "calibration": '<span><i class="line calibration"></i>threshold from the evaluation</span>',
}


def _own(limit: Threshold | str, network: Network) -> str:
    where = "" if isinstance(limit, str) else f" on {limit.source}"
    return f"the evaluation of {network.name}{where}"


def _row(source: str, limit: Threshold | str, more: str = "") -> str:
    if isinstance(limit, str):
        value, notes = "none", limit
    else:
        value = words.threshold(limit)
        notes = "; ".join(note for note in (more, limit.note) if note)
    return f"<tr><td>{escape(source)}</td><td>{value}</td><td>{escape(notes)}</td></tr>"


def _matrix(found: Findings) -> str:
    cosines, group, names = found.cosines, found.group, found.names
    what = "cell is a couple of faces"
    if len(group) > drawing.MOST_FACES:
        there, numbered = np.unique(group, return_inverse=True)
        if len(there) > drawing.MOST_FACES:
            return "<p>There are too many people for a table that could be read.</p>"
        cosines, group = drawing.means(cosines, numbered), np.arange(len(there))
        names = tuple(names[k] for k in there)
        what = "cell is the mean over the couples of two people"
    return (
        f"<p>Every {what}, ordered by {'person' if found.album.source.people else 'group'}: "
        "bright is alike. Expect bright squares on the diagonal; a dark line within one is a "
        "photo unlike the others, and a bright square away from the diagonal is two groups that "
        f'look alike.</p><div class="wide">{drawing.matrix(cosines, group, names)}</div>'
    )


_STRANGERS = {
    True: "One couple of photos for any two people. Who scores above the threshold here would be "
    "taken for one person: relatives, people who look alike, or one person under two names.",
    False: "One couple for any two groups: the same person may have been parted.",
}
_LEAST = {
    True: "One couple for each person: a difficult photo, many years, or somebody else's face.",
    False: "One couple for each group: two people may have been joined.",
}


def _couples(found: Findings, couples: list[Couple], intro: str) -> str:
    if not couples:
        return "<p>There is no such couple.</p>"
    shown = [
        _couple(found, (couple.first, couple.second), f"cosine {couple.cosine:.3f}")
        for couple in couples
    ]
    return f'<p>{escape(intro)}</p><div class="couples">{"".join(shown)}</div>'


def _couple(found: Findings, rows: Iterable[int], score: str) -> str:
    two = "".join(_face(found.album.items[row]) for row in rows)
    return (
        f'<div class="couple"><div class="score">{escape(score)}</div><div class="two">{two}</div>'
        "</div>"
    )


def _face(item: Item, caption: Callable[[Item], str] | None = None) -> str:
    text = _caption(item) if caption is None else caption(item)
    return (
        f'<figure><img src="{drawing.picture_url(item.jpeg, "jpeg")}" width="112" height="112" '
        f'alt="face in {escape(item.photo)}"><figcaption>{_breakable(text)}</figcaption></figure>'
    )


def _breakable(text: str) -> str:
    """HTML of a text in which lines may break after the marks that file names are made of."""
    return re.sub(r"([/_.-])", r"\1<wbr>", escape(text))


def _caption(item: Item) -> str:
    return "; ".join([item.photo, *_notes(item)])


def _notes(item: Item) -> list[str]:
    """What is unusual about a face."""
    notes = []
    if item.of > 1:
        which = "largest" if item.number == 1 else f"number {item.number} by size"
        notes.append(f"{which} of {item.of} faces")
    if item.turned:
        notes.append(f"turned by {item.turned}°")
    if item.eyes_px < 20:
        notes.append(f"only {item.eyes_px:.0f} pixels between the eyes")
    return notes


def _suspects(found: Findings) -> str:
    items, names = found.album.items, found.names
    parts = [
        "<p>A photo that is more like another person's photos than like those of its own folder, "
        "on average. A wrong label is one reason; a bad crop or a difficult photo are others. "
        "People with fewer than three photos are not judged.</p>"
    ]
    cards = []
    for suspect in found.suspects:
        own, other = names[found.group[suspect.row]], names[suspect.nearest]
        cards.append(
            f'<div class="couple"><div class="two">{_face(items[suspect.row])}<p class="soft">'
            f"{suspect.own:.3f} to {escape(own)}<br>{suspect.other:.3f} to "
            f"{escape(other)}</p></div></div>"
        )
    parts.append(f'<div class="couples">{"".join(cards)}</div>' if cards else "<p>No photo is.</p>")
    if found.twice:
        both = [_couple(found, couple, "one image, two people") for couple in found.twice[:12]]
        parts.append(
            f"<h3>One image under two people</h3><p>{len(found.twice):,} couples of crops are "
            f'nearly the same image.</p><div class="couples">{"".join(both)}</div>'
        )
    if found.copies:
        parts.append(
            f"<p>{found.copies:,} couples of one person's crops are nearly the same image: "
            "copies raise that person's scores and say nothing new.</p>"
        )
    return "".join(parts)


def _one_photo(found: Findings) -> str:
    if not found.one_photo:
        return "<p>No group holds two faces of one photo, which would be two people.</p>"
    both = [_couple(found, couple, "one photo, one group") for couple in found.one_photo[:12]]
    return (
        "<p>A person is in a photo once. These faces of one photo were put into one group, so at "
        f'least one of them is somebody else.</p><div class="couples">{"".join(both)}</div>'
    )


def _sheet(found: Findings) -> str:
    rows: dict[int, list[int]] = {}
    for row, group in enumerate(found.group.tolist()):
        rows.setdefault(group, []).append(row)
    parts = []
    for group, members in list(rows.items())[:MOST_GROUPS]:
        faces = "".join(_face(found.album.items[row], _short) for row in members[:MOST_SHOWN])
        more = len(members) - MOST_SHOWN
        parts.append(
            f"<h3>{escape(found.names[group])} <small>{len(members):,}"
            f"{f', {more:,} not shown' if more > 0 else ''}</small></h3>"
            f'<div class="sheet">{faces}</div>'
        )
    if len(rows) > MOST_GROUPS:
        parts.append(f"<p>{len(rows) - MOST_GROUPS:,} more are not shown.</p>")
    return "".join(parts)


def _short(item: Item) -> str:
    return "; ".join([item.photo.rpartition("/")[2], *_notes(item)])


def _missing(found: Findings) -> str:
    left = summary(found.album.source.left_out)
    missing = found.album.missing.items()
    if not missing and not left:
        return "<p>Every photo was compared.</p>"
    parts = ""
    if missing:
        lines = [f"{name}: {why.removeprefix(f'{name}: ')}" for name, why in missing]
        parts += f"<details open><summary>{len(lines):,} photos</summary>{_list(lines)}</details>"
    if left:
        parts += f"<p>Left out before reading:</p>{_list(left)}"
    return parts


def _list(lines: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
