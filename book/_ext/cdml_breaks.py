"""Line breaks: none between a formula and its comma, but allowed within long names in tables."""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_OPENS = re.compile(r"[(\[“‘]+$")
# After a sign and before a letter. A break next to a space, as in "... x5", makes Chromium's layout
# of narrow tables take seconds, and sometimes crash.
_BREAK = re.compile(r"(?<=[/_.(])(?=\w)")
_CLOSES = re.compile(r"^[^\w\s(\[“‘]+")


class Unbroken(SphinxTransform):
    """Wrap a formula and the punctuation that touches it in an element that is not broken."""

    default_priority = 880  # after quotation marks have been made typographic

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
    """Cut the matching punctuation out of a parent's text child; empty if there is none."""
    text = parent.children[at] if 0 <= at < len(parent.children) else None
    match = signs.search(text) if isinstance(text, nodes.Text) else None
    if match is None:
        return ""
    parent.replace(text, nodes.Text(text[: match.start()] + text[match.end() :]))
    return match[0]


class Parted(SphinxTransform):
    """Allow line breaks after slashes, dots and the like in code within tables."""

    default_priority = Unbroken.default_priority

    def apply(self, **kwargs: object) -> None:
        for entry in self.document.findall(nodes.entry):
            for code in list(entry.findall(nodes.literal)):
                first, *parts = _BREAK.split(code.astext())
                code.children = []
                code += nodes.Text(first)
                for part in parts:
                    code += [nodes.raw("", "<wbr>", format="html"), nodes.Text(part)]


def setup(app: Sphinx) -> None:
    app.add_transform(Unbroken)
    app.add_transform(Parted)
