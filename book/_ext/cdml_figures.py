"""SVG figures as part of the page, so that their ink, grid and paper follow the light or dark
theme.
"""

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
    """Replace every SVG image of a page by the drawing itself; captions and numbers stay with the
    figure.
    """
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
                "%s is not an SVG that can be read: %s",
                path.name,
                error,
                location=page,
                type="cdml",
            )
            continue
        image.replace_self(nodes.raw("", text, format="html"))


class Glue(PasteAnyDirective):
    """myst-nb's ``{glue}``, which tells with ``:alt:`` what a drawing of another page shows."""

    option_spec = {**PasteAnyDirective.option_spec, "alt": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        made = super().run()
        for node in made:
            if isinstance(node, PendingGlueReference) and "alt" in self.options:
                node["alt"] = self.options["alt"]
        return made


class GluedDrawings(SphinxPostTransform):
    """Show a drawing glued in another page; myst-nb would show its plain text, knowing no SVG
    there.
    """

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
                said = label(node, self.env.docname)
                node.replace_self(
                    nodes.raw("", inline(text, f"glue{number}-", said), format="html")
                )


def label(node: nodes.Element, page: str) -> str:
    """What a screen reader says: the alt text, else the caption; a drawing without either is a
    warning.
    """
    caption = (
        node.parent.next_node(nodes.caption) if isinstance(node.parent, nodes.figure) else None
    )
    said = node.get("alt") or (caption.astext() if caption else "")
    if not said:
        name = node.get("key") or node.get("uri")
        logger.warning(
            "the drawing %s has neither a caption nor an alt text", name, location=page, type="cdml"
        )
    return said or "Figure"


def width(image: nodes.image) -> str | None:
    """The width the page asks for, as CSS."""
    asked = image.get("width")
    return f"{asked}px" if asked and re.fullmatch(r"[\d.]+", asked) else asked


def setup(app: Sphinx) -> None:
    app.add_directive("glue", Glue, override=True)
    app.add_post_transform(GluedDrawings)
    app.connect("doctree-resolved", inline_figures)
