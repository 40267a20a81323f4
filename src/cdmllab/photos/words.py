"""Explain a score and its limits to people who do not work with embeddings."""

from html import escape

from cdmllab.metrics.calibration import Rate
from cdmllab.photos.thresholds import TailShares, Threshold

CANNOT_SAY = (
    "A score compares two aligned crops of faces. It is not the probability that they show one "
    "person: that also depends on how likely it was beforehand, and the more strangers a face is "
    "compared with, the more of them score high by chance.",
    "Relatives and twins score higher than strangers, and so do people of an age, sex or origin "
    "that was rare in the training data. A threshold that suits one group can be wrong for "
    "another; these numbers are averages over the people in the photos.",
    "Pose, light, blur, glasses, a beard and years between two photos lower the score of one "
    "person. If one of two photos is poor, a low score is no evidence that they show different "
    "people.",
    "Landmarks that the detector misplaced, or the wrong face of a group photo, give a score "
    "that is not about the two people. Look at the crops before you trust a number.",
    "The score must never decide about a person alone: it can suggest where to look, and a human "
    "has to look.",
)
"""Paragraphs for the report."""


def number(value: float, low: float | None = None, high: float | None = None) -> str:
    """``0.431 [0.402, 0.455]``, without brackets if there is no interval."""
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def percent(rate: Rate) -> str:
    """``0.12 % [0.05, 0.31]``."""
    value, low, high = (100 * part for part in rate[:3])
    return f"{value:.3g} % [{low:.3g}, {high:.3g}]"


def threshold(limit: Threshold) -> str:
    """A threshold with its interval."""
    return number(limit.cosine, limit.low, limit.high)


def verdict(cosine: float, limit: Threshold) -> str:
    """Where a score is, to be followed by "the threshold"; undecided within the interval."""
    # Within the interval the threshold itself is not known well enough.
    if limit.low is not None and limit.high is not None and limit.low <= cosine <= limit.high:
        return "too close to call at"
    return "above" if cosine >= limit.cosine else "below"


def compared(first: str, second: str, cosine: float, limit: Threshold, where: TailShares) -> str:
    """The one line of `cdmllab compare` with an evaluation of the network."""
    return (
        f"{first}, {second}: cosine {cosine:.3f}, {verdict(cosine, limit)} the threshold "
        f"{threshold(limit)} for a FAR of {limit.far:g} on {limit.source}, where "
        f"{percent(where.strangers_above)} of pairs of strangers score as high and "
        f"{percent(where.genuine_below)} of pairs of one person as low; this holds for photos "
        "like those, and does not prove who is shown"
    )


def uncalibrated(first: str, second: str, cosine: float) -> str:
    """The same without one."""
    return (
        f"{first}, {second}: cosine {cosine:.3f}; without an evaluation of this network "
        "(--calibration) it is unknown whether that is high"
    )


def paragraphs() -> str:
    """`CANNOT_SAY` as HTML."""
    return "".join(f"<p>{escape(text)}</p>" for text in CANNOT_SAY)
