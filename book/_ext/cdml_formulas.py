"""A formula within a line stays beside its brackets and its comma, where a browser might begin a new line."""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_OPENS = re.compile(r"[(\[“‘]+$")
_CLOSES = re.compile(r"^[^\w\s(\[“‘]+")


class Unbroken(SphinxTransform):
    """Put a formula and the signs that touch it into an element of their own, which has one line."""

    default_priority = 880  # after quotation marks got their curves

    def apply(self, **kwargs: object) -> None:
        for formula in list(self.document.findall(nodes.math)):
            parent = formula.parent
            at = parent.index(formula)
            before = _cut(parent, at - 1, _OPENS)
            after = _cut(parent, at + 1, _CLOSES)
            if before or after:
                signs = [nodes.Text(before), formula, nodes.Text(after)]
                parent[at] = nodes.inline("", "", *signs, classes=["cdml-unbroken"])


def _cut(parent: nodes.Element, at: int, signs: re.Pattern[str]) -> str:
    """Take what matches out of the text at a place; nothing where there is no text."""
    text = parent.children[at] if 0 <= at < len(parent.children) else None
    match = signs.search(text) if isinstance(text, nodes.Text) else None
    if match is None:
        return ""
    parent.replace(text, nodes.Text(text[: match.start()] + text[match.end() :]))
    return match[0]


def setup(app: Sphinx) -> None:
    app.add_transform(Unbroken)
