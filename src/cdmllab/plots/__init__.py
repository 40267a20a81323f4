"""Figures: one function for each, drawn in the book's style."""

from cdmllab.plots.contact import Drawing, contact_sheet
from cdmllab.plots.curves import angle_histogram, decision_regions, margin_costs, target_logits
from cdmllab.plots.difficulty import colour_bar, easiness_map, sample_paths
from cdmllab.plots.errors import error_rates, error_sheet
from cdmllab.plots.faces import relief, response_curves
from cdmllab.plots.gradients import Line, degrees_axis, lines, pull_arrows
from cdmllab.plots.layout import byte_layout, landmarks
from cdmllab.plots.networks import costs, latencies, receptive_fields, residual_block, shares
from cdmllab.plots.pictures import pictures
from cdmllab.plots.sphere import facing, sphere
from cdmllab.plots.style import COLOURS, IDENTITY_COLOURS, colour, figure, label
from cdmllab.plots.verification import cmc_curve, reliability_curve, roc_curve, score_histogram

__all__ = [
    "COLOURS",
    "IDENTITY_COLOURS",
    "Drawing",
    "Line",
    "angle_histogram",
    "byte_layout",
    "cmc_curve",
    "colour",
    "colour_bar",
    "contact_sheet",
    "costs",
    "decision_regions",
    "degrees_axis",
    "easiness_map",
    "error_rates",
    "error_sheet",
    "facing",
    "figure",
    "label",
    "landmarks",
    "latencies",
    "lines",
    "margin_costs",
    "pictures",
    "pull_arrows",
    "receptive_fields",
    "reliability_curve",
    "relief",
    "residual_block",
    "response_curves",
    "roc_curve",
    "sample_paths",
    "score_histogram",
    "shares",
    "sphere",
    "target_logits",
]
