"""Figures: one function for each, drawn in the book's style."""

from cdmllab.plots.contact import Drawing, contact_sheet
from cdmllab.plots.curves import angle_histogram, decision_regions, margin_costs, roc_curve, target_logits
from cdmllab.plots.faces import relief, response_curves
from cdmllab.plots.layout import byte_layout, landmarks
from cdmllab.plots.pictures import pictures
from cdmllab.plots.sphere import facing, sphere
from cdmllab.plots.style import COLOURS, IDENTITY_COLOURS, colour, figure, label

__all__ = [
    "COLOURS",
    "IDENTITY_COLOURS",
    "Drawing",
    "angle_histogram",
    "byte_layout",
    "colour",
    "contact_sheet",
    "decision_regions",
    "facing",
    "figure",
    "label",
    "landmarks",
    "margin_costs",
    "pictures",
    "relief",
    "response_curves",
    "roc_curve",
    "sphere",
    "target_logits",
]
