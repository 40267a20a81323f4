"""Accessibility fixes of the theme's finished pages, for screen readers and keyboards.

Fixes that depend on the width of the screen are in ``_static/cdml.js``.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

REPLACED = {
    # A button's visible text, "Search Ctrl+K", is its name; the icons of the next repeat its label.
    'title="Search" aria-label="Search" data-bs-placement': 'title="Search" data-bs-placement',
    'data-mode="light" title="Light"': 'data-mode="light"',
    'data-mode="dark"  title="Dark"': 'data-mode="dark"',
    'data-mode="auto"  title="System Settings"': 'data-mode="auto"',
    # The visible text of a folded cell, "Show code cell source", is its name.
    '<summary aria-label="Toggle hidden content">': "<summary>",
    # The arrow that unfolds a page in the table of contents has no name.
    '<summary><span class="toctree-toggle"': '<summary aria-label="Pages below this one"><span '
    'class="toctree-toggle"',
    # A list needs list items; the role "doc-biblioentry" has been removed from the standard.
    'role="doc-biblioentry"': 'role="listitem"',
}
# A signature of several lines is a list inside the term of another list, which HTML forbids.
_SIGNATURE = re.compile(r'(?<=<dt class="sig ).*?(?=</dt>)', re.DOTALL)
_LINES = {
    "<dl>": '<span class="sig-lines">',
    "<dd>": '<span class="sig-line">',
    "</dl>": "</span>",
    "</dd>": "</span>",
}


def fix_pages(app: Sphinx, error: Exception | None) -> None:
    """Apply the fixes to all pages of a successful HTML build."""
    if error is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        fixed = text
        for old, new in REPLACED.items():
            fixed = fixed.replace(old, new)
        fixed = _SIGNATURE.sub(_lines, fixed)
        if fixed != text:
            page.write_text(fixed, encoding="utf-8")


def _lines(signature: re.Match[str]) -> str:
    text = signature[0]
    for old, new in _LINES.items():
        text = text.replace(old, new)
    return text


def setup(app: Sphinx) -> None:
    app.connect("build-finished", fix_pages)
