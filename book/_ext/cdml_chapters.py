"""Numbers of chapters in their titles, and links where prose says "chapter 7"."""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_PAGE = re.compile(r"(?:.*/)?(\d\d)_\w+")
_MENTION = re.compile(r"\b([Cc]hapter\s(\d{1,2}))\b")
_NOT_PROSE = (
    nodes.title,
    nodes.reference,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    addnodes.pending_xref,
)


def number(page: str) -> int | None:
    """The number of a chapter's page, ``executed/03_gradient`` is 3; None for other pages."""
    match = _PAGE.fullmatch(page)
    return int(match[1]) if match else None


class NumberedTitle(SphinxTransform):
    """Prefix the title of a chapter with its number."""

    default_priority = 300

    def apply(self, **kwargs: object) -> None:
        chapter, title = number(self.env.docname), self.document.next_node(nodes.title)
        if chapter is not None and title is not None:
            title.insert(0, nodes.Text(f"{chapter}. "))


class ChapterLinks(SphinxTransform):
    """Link "chapter 7" in prose to that chapter, if it exists and is not the current page."""

    default_priority = 310

    def apply(self, **kwargs: object) -> None:
        own = self.env.docname
        pages = {
            n: page
            for page in self.env.found_docs
            if (n := number(page)) is not None and page != own
        }
        for parent in list(self.document.findall(nodes.TextElement)):
            if isinstance(parent, _NOT_PROSE) or any(
                isinstance(above, _NOT_PROSE) for above in _above(parent)
            ):
                continue
            children = _joined(parent)
            if any(isinstance(child, nodes.Text) and _MENTION.search(child) for child in children):
                parent.children = []
                parent.extend(new for child in children for new in _linked(child, pages))


def _above(node: nodes.Node) -> list[nodes.Node]:
    ancestors = []
    while (node := node.parent) is not None:
        ancestors.append(node)
    return ancestors


def _joined(parent: nodes.Element) -> list[nodes.Node]:
    """The children, with consecutive texts, which are split at line ends, joined into one."""
    result: list[nodes.Node] = []
    for child in parent.children:
        if result and isinstance(child, nodes.Text) and isinstance(result[-1], nodes.Text):
            result[-1] = nodes.Text(f"{result[-1]}{child}")
        else:
            result.append(child)
    return result


def _linked(node: nodes.Node, pages: dict[int, str]) -> list[nodes.Node]:
    if not isinstance(node, nodes.Text):
        return [node]
    result: list[nodes.Node] = []
    parts = _MENTION.split(str(node))  # text, mention, its number, text, ...
    mentions, numbers = [*parts[1::3], ""], [*parts[2::3], ""]
    for text, mention, digits in zip(parts[0::3], mentions, numbers, strict=True):
        if text:
            result.append(nodes.Text(text))
        if not mention:
            continue
        if int(digits) not in pages:
            result.append(nodes.Text(mention))
            continue
        link = addnodes.pending_xref(
            "",
            nodes.inline("", mention),
            refdomain="std",
            reftype="doc",
            reftarget=f"/{pages[int(digits)]}",
            refexplicit=True,
            refwarn=True,
        )
        result.append(link)
    return result


def setup(app: Sphinx) -> None:
    app.add_transform(NumberedTitle)
    app.add_transform(ChapterLinks)
