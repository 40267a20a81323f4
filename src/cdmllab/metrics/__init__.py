"""Measures of verification and identification, in numpy only."""

from typing import TYPE_CHECKING

from cdmllab._util import lazy

if TYPE_CHECKING:
    from cdmllab.metrics import (
        bootstrap,
        calibration,
        discard,
        discard_areas,
        error_rates,
        fixed_grid,
        identification,
        multiple,
        nearest,
        nearest_far,
        qmagface,
        scoring,
        templates,
        verification,
    )

__all__ = [
    "bootstrap",
    "calibration",
    "discard",
    "discard_areas",
    "error_rates",
    "fixed_grid",
    "identification",
    "multiple",
    "nearest",
    "nearest_far",
    "qmagface",
    "scoring",
    "templates",
    "verification",
]
__getattr__, __dir__ = lazy.modules(__name__, __all__)
