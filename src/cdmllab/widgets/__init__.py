"""Widgets: each one JavaScript source, live in Jupyter and static in the book.

To add one: write ``<name>.js`` (no imports, one ``export default { render }``, built from `_kit.js`) and a
`Widget` subclass with the same name, and list the class here.
"""

from cdmllab.widgets.base import Widget, source
from cdmllab.widgets.target_logit import TargetLogit

WIDGETS: dict[str, type[Widget]] = {widget.name: widget for widget in (TargetLogit,)}


def names() -> list[str]:
    """The names of all widgets, sorted."""
    return sorted(WIDGETS)


__all__ = ["WIDGETS", "TargetLogit", "Widget", "names", "source"]
