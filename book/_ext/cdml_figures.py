"""SVG figures inlined in the page, so that their colours follow the light or dark theme."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from cdml_svg import inline
from docutils import nodes
from docutils.parsers.rst import directives
from myst_nb.ext.glue.crossref import read_glue_cache
from myst_nb.ext.glue.directives import PasteAnyDirective
from myst_nb.ext.glue.utils import PendingGlueReference
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)


def inline_figures(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Replace every SVG image of a page by its drawing; figures keep caption and number."""
    if app.builder.format != "html":
        return
    for number, image in enumerate(list(doctree.findall(nodes.image)), 1):
        path = Path(app.srcdir, image["uri"])
        if path.suffix != ".svg" or not path.is_file():
            continue
        try:
            text = inline(
                path.read_text(encoding="utf-8"), f"fig{number}-", label(image, page), width(image)
            )
        except ET.ParseError as error:
            logger.warning(
                "%s is not a readable SVG: %s",
                path.name,
                error,
                location=page,
                type="cdml",
            )
            continue
        image.replace_self(nodes.raw("", text, format="html"))


class Glue(PasteAnyDirective):
    """myst-nb's ``{glue}`` with an ``:alt:`` text for a drawing of another page."""

    option_spec = {**PasteAnyDirective.option_spec, "alt": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        result = super().run()
        for node in result:
            if isinstance(node, PendingGlueReference) and "alt" in self.options:
                node["alt"] = self.options["alt"]
        return result


class GluedDrawings(SphinxPostTransform):
    """Insert drawings glued in another page, which myst-nb would replace by their plain text."""

    default_priority = 4  # before myst-nb's own
    formats = ("html",)

    def run(self, **kwargs: object) -> None:
        folder = self.env.mystnb_config.output_folder
        for number, node in enumerate(list(self.document.findall(PendingGlueReference)), 1):
            text = (
                read_glue_cache(folder, node.refdoc)
                .get(node.key, {})
                .get("data", {})
                .get("image/svg+xml")
            )
            if text and node.gtype != "text":
                alt = label(node, self.env.docname)
                node.replace_self(nodes.raw("", inline(text, f"glue{number}-", alt), format="html"))


def label(node: nodes.Element, page: str) -> str:
    """The text for screen readers: the alt text or the caption; warns if there is neither."""
    caption = (
        node.parent.next_node(nodes.caption) if isinstance(node.parent, nodes.figure) else None
    )
    text = node.get("alt") or (caption.astext() if caption else "")
    if not text:
        name = node.get("key") or node.get("uri")
        logger.warning(
            "the drawing %s has neither a caption nor an alt text", name, location=page, type="cdml"
        )
    return text or "Figure"


def width(image: nodes.image) -> str | None:
    """The width set in the page, as CSS."""
    value = image.get("width")
    return f"{value}px" if value and re.fullmatch(r"[\d.]+", value) else value


def setup(app: Sphinx) -> None:
    app.add_directive("glue", Glue, override=True)
    app.add_post_transform(GluedDrawings)
    app.connect("doctree-resolved", inline_figures)
