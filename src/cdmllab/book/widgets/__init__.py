"""Widgets: each is one JavaScript source that runs both in Jupyter and on the book's pages.

To add one, write ``<name>.js`` (no imports, one ``export default { render }``, built from `_kit.js`
and the parts that its class names, such as `_margins.js`) and a `Widget` subclass with the same
name, and list the class here. The class has a method that computes the displayed numbers with the
package; the tests compare them with the page.
"""

from cdmllab.errors import optional

with optional("book", "a widget"):
    from cdmllab.book.widgets.base import Widget, packed, unpacked
    from cdmllab.book.widgets.cdml_at_work import CdmlAtWork
    from cdmllab.book.widgets.decision_boundary import DecisionBoundary
    from cdmllab.book.widgets.face_lab import FaceLab
    from cdmllab.book.widgets.hypersphere import Hypersphere
    from cdmllab.book.widgets.power import Power
    from cdmllab.book.widgets.target_logit import TargetLogit
    from cdmllab.book.widgets.threshold import Threshold
    from cdmllab.book.widgets.two_losses import TwoLosses

WIDGETS: dict[str, type[Widget]] = {
    widget.name: widget
    for widget in (
        TargetLogit,
        DecisionBoundary,
        CdmlAtWork,
        Hypersphere,
        Threshold,
        FaceLab,
        TwoLosses,
        Power,
    )
}


def names() -> list[str]:
    """The names of all widgets, sorted."""
    return sorted(WIDGETS)


def source(name: str) -> str:
    """The JavaScript of a widget, see `Widget.source`."""
    return WIDGETS[name].source()


__all__ = [
    "WIDGETS",
    "CdmlAtWork",
    "DecisionBoundary",
    "FaceLab",
    "Hypersphere",
    "Power",
    "TargetLogit",
    "Threshold",
    "TwoLosses",
    "Widget",
    "names",
    "packed",
    "source",
    "unpacked",
]
