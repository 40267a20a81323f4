"""Preparation of an SVG file for a page: themed colours, unique ids, and a responsive width."""

import re
import xml.etree.ElementTree as ET

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

# The placeholder colours of cdmllab.plots.style and the losses' colours, with their names in
# cdml.css.
THEME = {
    "#1b2330": "ink",
    "#c9ced6": "grid",
    "#fefefe": "paper",
    "#7d828a": "softmax",
    "#4a97cf": "normface",
    "#b86bb0": "sphereface",
    "#2a9d7f": "cosface",
    "#2f6fb7": "arcface",
    "#d9542b": "cdml",
    "#c08a1e": "combined",
}
_COLOUR = re.compile("|".join(THEME), re.IGNORECASE)
_REFERENCE = re.compile(r"url\(\s*['\"]?#([^)'\"]+)['\"]?\s*\)")
# matplotlib's only CSS rule, which would apply to the full page.
_EVERYTHING = re.compile(r"\s*\*\s*\{([^{}]*)\}\s*")
_PX = {"": 1.0, "px": 1.0, "pt": 4 / 3, "in": 96.0, "mm": 96 / 25.4, "cm": 96 / 2.54}


def inline(text: str, prefix: str, label: str, width: str | None = None) -> str:
    """Convert a drawing to an element of an HTML page.

    Parameters
    ----------
    text : content of an SVG file
    prefix : prefix of every id, so that the figures of a page do not share ids
    label : text for screen readers
    width : CSS width; None means the drawing's own. It never exceeds that of the column.
    """
    root = ET.fromstring(text)
    natural = _pixels(root.get("width")), _pixels(root.get("height"))
    if root.get("viewBox") is None and all(natural):
        root.set("viewBox", f"0 0 {natural[0]:g} {natural[1]:g}")
    style = _own_style(root)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            element.set(key.removeprefix(f"{{{XLINK}}}"), _attribute(key, value, prefix))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    if width or natural[0]:
        style = f"width:{width or f'{natural[0]:g}px'};{style}"
    root.attrib.update({"class": "cdml-figure", "role": "img", "aria-label": label, "style": style})
    root.tail = None
    return f'<div class="cdml-drawing">{ET.tostring(root, encoding="unicode")}</div>'


def _own_style(root: ET.Element) -> str:
    """Remove metadata and the rule for all elements; return the declarations of the rule."""
    style = ""
    for parent in list(root.iter()):
        for child in list(parent):
            rule = (
                _EVERYTHING.fullmatch(child.text or "") if child.tag == f"{{{SVG}}}style" else None
            )
            if rule:
                style += "".join(rule[1].split())
            if rule or child.tag == f"{{{SVG}}}metadata":
                parent.remove(child)
    return style


def _attribute(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return prefix + value
    if key in ("href", f"{{{XLINK}}}href"):
        return f"#{prefix}{value[1:]}" if value.startswith("#") else value
    value = _REFERENCE.sub(lambda match: f"url(#{prefix}{match[1]})", value)
    return _COLOUR.sub(lambda match: f"var(--cdml-{THEME[match[0].lower()]})", value)


def _pixels(length: str | None) -> float | None:
    match = re.fullmatch(r"\s*([\d.]+)\s*([a-z]*)\s*", length or "")
    return float(match[1]) * _PX[match[2]] if match and match[2] in _PX else None
