"""Figures in the book's style, one function each."""

from cdmllab.errors import optional

with optional("plots", "a figure"):
    from cdmllab.margins import label
    from cdmllab.plots.atlas import (
        FAMILY_COLOURS,
        FAMILY_WORDS,
        family_rows,
        likeness_map,
        small_multiples,
        stacked,
        timeline,
    )
    from cdmllab.plots.contact import Drawing, contact_sheet
    from cdmllab.plots.curves import angle_histogram, decision_regions, margin_costs, target_logits
    from cdmllab.plots.easiness import (
        by_label,
        colour_bar,
        easiness_map,
        guess_against_truth,
        sample_paths,
    )
    from cdmllab.plots.error_analysis import error_rates, error_sheet
    from cdmllab.plots.faces import relief, response_curves
    from cdmllab.plots.gradients import Line, degrees_axis, lines, pull_arrows
    from cdmllab.plots.hypersphere import (
        flat_map,
        margins_against_difficulty,
        neighbour_angles,
        spectra,
    )
    from cdmllab.plots.images import images
    from cdmllab.plots.labelled import labelled_lines
    from cdmllab.plots.large import MeasuredHead, against_identities, measured_heads
    from cdmllab.plots.layout import byte_layout, landmarks
    from cdmllab.plots.margin_effect import caps, over_margin
    from cdmllab.plots.networks import costs, latencies, receptive_fields, residual_block, shares
    from cdmllab.plots.quality import discard_curves, factor_correlations
    from cdmllab.plots.sphere import facing, sphere
    from cdmllab.plots.style import COLOURS, IDENTITY_COLOURS, colour, figure
    from cdmllab.plots.training import (
        accuracy_bars,
        differences,
        paired_seeds,
        sample_margins,
        training_curves,
    )
    from cdmllab.plots.verification import cmc_curve, reliability_curve, roc_curve, score_histogram

__all__ = [
    "COLOURS",
    "FAMILY_COLOURS",
    "FAMILY_WORDS",
    "IDENTITY_COLOURS",
    "Drawing",
    "Line",
    "MeasuredHead",
    "accuracy_bars",
    "against_identities",
    "angle_histogram",
    "by_label",
    "byte_layout",
    "caps",
    "cmc_curve",
    "colour",
    "colour_bar",
    "contact_sheet",
    "costs",
    "decision_regions",
    "degrees_axis",
    "differences",
    "discard_curves",
    "easiness_map",
    "error_rates",
    "error_sheet",
    "facing",
    "factor_correlations",
    "family_rows",
    "figure",
    "flat_map",
    "guess_against_truth",
    "images",
    "label",
    "labelled_lines",
    "landmarks",
    "latencies",
    "likeness_map",
    "lines",
    "margin_costs",
    "margins_against_difficulty",
    "measured_heads",
    "neighbour_angles",
    "over_margin",
    "paired_seeds",
    "pull_arrows",
    "receptive_fields",
    "reliability_curve",
    "relief",
    "residual_block",
    "response_curves",
    "roc_curve",
    "sample_margins",
    "sample_paths",
    "score_histogram",
    "shares",
    "small_multiples",
    "spectra",
    "sphere",
    "stacked",
    "target_logits",
    "timeline",
    "training_curves",
]
