"""CDML Lab: margin losses for face recognition, from the formula to the measured system."""

from typing import TYPE_CHECKING

from cdmllab._util import lazy

if TYPE_CHECKING:
    from cdmllab import (
        backbones,
        data,
        evaluate,
        faces,
        heads,
        margins,
        metrics,
        training,
    )

__version__ = "0.1.0"
# Public, with a page of the reference each.
__all__ = [
    "backbones",
    "data",
    "evaluate",
    "faces",
    "heads",
    "margins",
    "metrics",
    "training",
]
# Importable in the same way, and free to change.
_OTHERS = (
    "analysis",
    "errors",
    "export",
    "geometry",
    "photos",
    "plots",
    "results",
    "runs",
    "sweeps",
)
__getattr__, __dir__ = lazy.modules(__name__, (*__all__, *_OTHERS), also=("__version__",))
