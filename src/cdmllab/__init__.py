"""CDML Lab: margin losses for face recognition, from the formula to the measured system."""

from typing import TYPE_CHECKING

from cdmllab._util import lazy

if TYPE_CHECKING:
    from cdmllab import (
        analysis,
        backbones,
        data,
        errors,
        evaluate,
        export,
        faces,
        geometry,
        heads,
        margins,
        metrics,
        photos,
        plots,
        results,
        runs,
        sweeps,
        training,
    )

__version__ = "0.1.0"
__all__ = [
    "analysis",
    "backbones",
    "data",
    "errors",
    "evaluate",
    "export",
    "faces",
    "geometry",
    "heads",
    "margins",
    "metrics",
    "photos",
    "plots",
    "results",
    "runs",
    "sweeps",
    "training",
]
__getattr__, __dir__ = lazy.modules(__name__, __all__, also=("__version__",))
