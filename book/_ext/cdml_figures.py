"""SVG figures as part of the page, so that their ink, grid and paper follow the light or dark theme."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from cdml_svg import inline
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def inline_figures(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Replace every SVG image of a page by the drawing itself; captions and numbers stay with the figure."""
    if app.builder.format != "html":
        return
    for number, image in enumerate(list(doctree.findall(nodes.image)), 1):
        path = Path(app.srcdir, image["uri"])
        if path.suffix != ".svg" or not path.is_file():
            continue
        try:
            text = inline(path.read_text(encoding="utf-8"), f"fig{number}-", label(image), width(image))
        except ET.ParseError as error:
            logger.warning(
                "%s is not an SVG that can be read: %s", path.name, error, location=page, type="cdml"
            )
            continue
        image.replace_self(nodes.raw("", text, format="html"))


def label(image: nodes.image) -> str:
    """What a screen reader says: the alt text, else the caption."""
    caption = image.parent.next_node(nodes.caption) if isinstance(image.parent, nodes.figure) else None
    return image.get("alt") or (caption.astext() if caption else "Figure")


def width(image: nodes.image) -> str | None:
    """The width the page asks for, as CSS."""
    asked = image.get("width")
    return f"{asked}px" if asked and re.fullmatch(r"[\d.]+", asked) else asked


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", inline_figures)
