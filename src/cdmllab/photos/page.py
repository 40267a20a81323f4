"""The report as one HTML file without scripts or external resources.

A content security policy in its head forbids the browser to load anything.
"""

from html import escape
from importlib.resources import files

import numpy as np

from cdmllab.data.walk import summary
from cdmllab.photos import cards, drawing, words
from cdmllab.photos.album import Network
from cdmllab.photos.report import Findings
from cdmllab.photos.thresholds import Threshold

_RULE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(findings: Findings, network: Network, detector: str) -> str:
    """The complete page."""
    known = bool(findings.album.source.people)  # folders are people
    title = f"Photos in {findings.album.source.root.resolve().name}"
    # Anchor, heading and content of each section.
    sections: list[tuple[str, str, str]] = [
        ("thresholds", "Which score is enough?", _thresholds(findings, network)),
        ("cannot", "What a score cannot say", f'<div class="say">{words.paragraphs()}</div>'),
        ("matrix", "Every face against every other", _matrix(findings)),
        (
            "strangers",
            "The most alike strangers" if known else "The most alike faces of different groups",
            cards.pairs(findings, findings.strangers, _STRANGERS[known]),
        ),
        (
            "least",
            "The least alike photos of one person"
            if known
            else "The least alike faces of one group",
            cards.pairs(findings, findings.least_alike, _LEAST[known]),
        ),
        (
            "suspects",
            "Labels that may be wrong" if known else "Groups that may be wrong",
            _suspects(findings) if known else _one_photo(findings),
        ),
        ("sheet", "Contact sheet", cards.sheet(findings)),
        ("missing", "Photos that were not compared", _missing(findings)),
    ]
    # A table of contents, then the sections with the anchors that it links to.
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
        f"<header><h1>{escape(title)}</h1>{_intro(findings, network, detector)}<nav>{links}</nav>"
        f"</header>{body}</body></html>\n"
    )


def _style() -> str:
    return (files("cdmllab.photos") / "page.css").read_text(encoding="utf-8")


def _intro(findings: Findings, network: Network, detector: str) -> str:
    source, prepare = findings.album.source, network.prepare
    seen = f"{prepare['size']} × {prepare['size']} pixels, {prepare['channels']}"
    # Name, value and style of each tile.
    facts = [
        ("photos", f"{len(source.photos):,}", ""),
        ("faces compared", f"{len(findings.album.items):,}", ""),
        ("people" if source.people else "groups by likeness", f"{_groups(findings):,}", ""),
        ("not compared", f"{len(findings.album.missing):,}", ""),
        ("network", f"{escape(network.name)}<br><small>{seen}</small>", "text"),
        ("detector", escape(detector), "text"),
    ]
    tiles = "".join(
        f'<div><dt>{name}</dt><dd class="{kind}">{value}</dd></div>' for name, value, kind in facts
    )
    return (
        '<p class="lead">Faces were found, aligned and compared on this machine. This file '
        "contains small images of them: treat it like the photos themselves.</p>"
        f'<dl class="facts">{tiles}</dl>'
    )


def _groups(findings: Findings) -> int:
    return len(set(findings.group.tolist()))


def _thresholds(findings: Findings, network: Network) -> str:
    # Both thresholds in a table, what a threshold is worth on other people, and the scores.
    far = f"{findings.far:g}"
    parts = [
        f"<p>A pair of photos counts as one person from some cosine upwards. Below are the "
        f"thresholds at which {100 * findings.far:g} % of pairs of strangers would be accepted (a "
        f"FAR of {far}), with 95 % intervals.</p>"
    ]
    effect = ""
    # What the evaluation's threshold does on these photos, if both are known.
    if findings.carried is not None:
        effect = (
            f"here it accepts {words.percent(findings.carried.far)} of pairs of strangers and "
            f"{words.percent(findings.carried.tar)} of pairs of one person"
        )
    rows = [
        _row("these photos", findings.here),
        _row(_own(findings.elsewhere, network), findings.elsewhere, effect),
    ]
    parts.append(
        '<div class="wide"><table><tr><th>from</th><th>threshold</th><th>notes</th></tr>'
        f"{''.join(rows)}</table></div>"
    )
    if findings.halves:
        tried = " and ".join(words.percent(half.far) for half in findings.halves)
        parts.append(
            "<p>A threshold looks better on the people it was chosen on. Chosen on one half of "
            f"the people and measured on the other, it accepted {tried} of pairs of strangers.</p>"
        )
    # Without folders the score at which groups were cut decides everything below.
    if findings.cut is not None:
        parts.append(f"<p>Groups by likeness were cut at a mean cosine of {findings.cut:.3f}.</p>")
    if findings.pairs is not None:
        genuine = len(findings.pairs.scores) - findings.pairs.strangers
        marks = [
            (limit.cosine, kind)
            for limit, kind in ((findings.here, "here"), (findings.elsewhere, "calibration"))
            if not isinstance(limit, str)
        ]
        parts.append(
            f'<div class="key"><span><i class="strangers"></i>{findings.pairs.strangers:,} pairs '
            f'of strangers</span><span><i class="genuine"></i>{genuine:,} pairs of one person'
            "</span>"
            + "".join(_LINES[kind] for _, kind in marks)
            + f"</div>{drawing.histograms(findings.pairs, marks)}"
            '<p class="soft">Both areas have the same size, whatever the number of pairs. The '
            "further they overlap, the less a score decides.</p>"
        )
    return "".join(parts)


_LINES = {
    "here": '<span><i class="line"></i>threshold from these photos</span>',
    "calibration": '<span><i class="line calibration"></i>threshold from the evaluation</span>',
}


def _own(limit: Threshold | str, network: Network) -> str:
    source = "" if isinstance(limit, str) else f" on {limit.source}"
    return f"the evaluation of {network.name}{source}"


def _row(source: str, limit: Threshold | str, more: str = "") -> str:
    if isinstance(limit, str):
        value, notes = "none", limit
    else:
        value = words.threshold(limit)
        notes = "; ".join(note for note in (more, limit.note) if note)
    return f"<tr><td>{escape(source)}</td><td>{value}</td><td>{escape(notes)}</td></tr>"


def _matrix(findings: Findings) -> str:
    cosines, group, names = findings.cosines, findings.group, findings.names
    meaning = "cell is a pair of faces"
    # Too many faces for a cell each: a cell is then a pair of people.
    if len(group) > drawing.MOST_FACES:
        groups, numbered = np.unique(group, return_inverse=True)
        if len(groups) > drawing.MOST_FACES:
            return "<p>There are too many people for a readable table.</p>"
        cosines, group = drawing.means(cosines, numbered), np.arange(len(groups))
        names = tuple(names[k] for k in groups)
        meaning = "cell is the mean over the pairs of two people"
    return (
        f"<p>Every {meaning}, ordered by {'person' if findings.album.source.people else 'group'}: "
        "bright is alike. Expect bright squares on the diagonal; a dark line within one is a "
        "photo unlike the others, and a bright square away from the diagonal is two groups that "
        f'look alike.</p><div class="wide">{drawing.matrix(cosines, group, names)}</div>'
    )


_STRANGERS = {
    True: "One pair of photos for each two people. A pair above the threshold would be taken for "
    "one person: relatives, people who look alike, or one person under two names.",
    False: "One pair for each two groups, which may be the same person.",
}
_LEAST = {
    True: "One pair per person: a difficult photo, many years, or someone else's face.",
    False: "One pair per group, which may contain two people.",
}


def _suspects(findings: Findings) -> str:
    items, names = findings.album.items, findings.names
    parts = [
        "<p>Photos that are on average more similar to another person's photos than to those of "
        "their own folder. A wrong label is one reason; a bad crop or a difficult photo are "
        "others. People with fewer than three photos are not checked.</p>"
    ]
    # Each suspect with its similarity to its own person and to the other one.
    suspected = []
    for suspect in findings.suspects:
        own, other = names[findings.group[suspect.row]], names[suspect.nearest]
        suspected.append(
            f'<div class="pair"><div class="two">{cards.face(items[suspect.row])}<p class="soft">'
            f"{suspect.own:.3f} to {escape(own)}<br>{suspect.other:.3f} to "
            f"{escape(other)}</p></div></div>"
        )
    parts.append(
        f'<div class="pairs">{"".join(suspected)}</div>' if suspected else "<p>There are none.</p>"
    )
    if findings.twice:
        both = [cards.pair(findings, pair, "one image, two people") for pair in findings.twice[:12]]
        parts.append(
            f"<h3>One image under two people</h3><p>{len(findings.twice):,} pairs of crops are "
            f'nearly the same image.</p><div class="pairs">{"".join(both)}</div>'
        )
    if findings.copies:
        parts.append(
            f"<p>{findings.copies:,} pairs of one person's crops are nearly the same image: "
            "copies raise that person's scores and add no information.</p>"
        )
    return "".join(parts)


def _one_photo(findings: Findings) -> str:
    if not findings.one_photo:
        return "<p>No group contains two faces of one photo, which would be two people.</p>"
    both = [cards.pair(findings, pair, "one photo, one group") for pair in findings.one_photo[:12]]
    return (
        "<p>A person is in a photo once. These faces of one photo are in one group, so at least "
        f'one of them is someone else.</p><div class="pairs">{"".join(both)}</div>'
    )


def _missing(findings: Findings) -> str:
    left = summary(findings.album.source.left_out)
    missing = findings.album.missing.items()
    if not missing and not left:
        return "<p>Every photo was compared.</p>"
    parts = ""
    if missing:
        lines = [f"{name}: {why.removeprefix(f'{name}: ')}" for name, why in missing]
        parts += f"<details open><summary>{len(lines):,} photos</summary>{_list(lines)}</details>"
    if left:
        parts += f"<p>Skipped before reading:</p>{_list(left)}"
    return parts


def _list(lines: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
