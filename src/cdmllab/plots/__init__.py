"""Figures: one function for each, drawn in the book's style."""

from cdmllab.plots.contact import Drawing, contact_sheet
from cdmllab.plots.curves import angle_histogram, decision_regions, margin_costs, target_logits
from cdmllab.plots.errors import error_rates, error_sheet
from cdmllab.plots.faces import relief, response_curves
from cdmllab.plots.layout import byte_layout, landmarks
from cdmllab.plots.networks import costs, latencies, receptive_fields, residual_block, shares
from cdmllab.plots.pictures import pictures
from cdmllab.plots.sphere import facing, sphere
from cdmllab.plots.style import COLOURS, IDENTITY_COLOURS, colour, figure, label
from cdmllab.plots.training import (
    accuracy_bars,
    by_label,
    differences,
    guess_against_truth,
    sample_margins,
    training_curves,
)
from cdmllab.plots.verification import cmc_curve, reliability_curve, roc_curve, score_histogram

__all__ = [
    "COLOURS",
    "IDENTITY_COLOURS",
    "Drawing",
    "accuracy_bars",
    "angle_histogram",
    "by_label",
    "byte_layout",
    "cmc_curve",
    "colour",
    "contact_sheet",
    "costs",
    "decision_regions",
    "differences",
    "error_rates",
    "error_sheet",
    "facing",
    "figure",
    "guess_against_truth",
    "label",
    "landmarks",
    "latencies",
    "margin_costs",
    "pictures",
    "receptive_fields",
    "reliability_curve",
    "relief",
    "residual_block",
    "response_curves",
    "roc_curve",
    "sample_margins",
    "score_histogram",
    "shares",
    "sphere",
    "target_logits",
    "training_curves",
]
