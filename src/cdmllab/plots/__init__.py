"""Figures: one function for each, drawn in the book's style."""

from cdmllab.plots.curves import angle_histogram, decision_regions, margin_costs, roc_curve, target_logits
from cdmllab.plots.networks import costs, latencies, receptive_fields, residual_block, shares
from cdmllab.plots.pictures import pictures
from cdmllab.plots.sphere import facing, sphere
from cdmllab.plots.style import COLOURS, IDENTITY_COLOURS, colour, figure, label

__all__ = [
    "COLOURS",
    "IDENTITY_COLOURS",
    "angle_histogram",
    "colour",
    "costs",
    "decision_regions",
    "facing",
    "figure",
    "label",
    "latencies",
    "margin_costs",
    "pictures",
    "receptive_fields",
    "residual_block",
    "roc_curve",
    "shares",
    "sphere",
    "target_logits",
]
