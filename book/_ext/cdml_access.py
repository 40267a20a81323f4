"""What the theme's pages lack for readers who listen to them or use a keyboard, put right in the
finished files.

The rest, which depends on the width of the screen, is in ``_static/cdml.js``.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

REPLACED = {
    # A button is called what stands on it, "Search Ctrl+K"; the images on another say no more
    # than its label.
    'title="Search" aria-label="Search" data-bs-placement': 'title="Search" data-bs-placement',
    'data-mode="light" title="Light"': 'data-mode="light"',
    'data-mode="dark"  title="Dark"': 'data-mode="dark"',
    'data-mode="auto"  title="System Settings"': 'data-mode="auto"',
    # What a folded cell's line says, it says itself: "Show code cell source".
    '<summary aria-label="Toggle hidden content">': "<summary>",
    # The arrow that unfolds a page's own pages in the table of contents has no name.
    '<summary><span class="toctree-toggle"': '<summary aria-label="Pages below this one"><span '
    'class="toctree-toggle"',
    # A list has items; "doc-biblioentry" was one in a version of the standard that is no more.
    'role="doc-biblioentry"': 'role="listitem"',
}
# A signature of several lines is a list within the term of another list, which HTML does not allow.
_SIGNATURE = re.compile(r'(?<=<dt class="sig ).*?(?=</dt>)', re.DOTALL)
_LINES = {
    "<dl>": '<span class="sig-lines">',
    "<dd>": '<span class="sig-line">',
    "</dl>": "</span>",
    "</dd>": "</span>",
}


def put_right(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        better = text
        for old, new in REPLACED.items():
            better = better.replace(old, new)
        better = _SIGNATURE.sub(_lines, better)
        if better != text:
            page.write_text(better, encoding="utf-8")


def _lines(signature: re.Match[str]) -> str:
    text = signature[0]
    for old, new in _LINES.items():
        text = text.replace(old, new)
    return text


def setup(app: Sphinx) -> None:
    app.connect("build-finished", put_right)
