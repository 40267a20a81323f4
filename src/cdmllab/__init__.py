"""CDML Lab: margin losses for face recognition, from the formula to the measured system."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdmllab import backbones, data, evaluate, faces, heads, margins, metrics, training

__version__ = "0.1.0"
__all__ = ["backbones", "data", "evaluate", "faces", "heads", "margins", "metrics", "training"]


def __getattr__(name: str) -> ModuleType:
    """Import a subpackage on first use, so that `import cdmllab` alone takes no time."""
    if name in __all__:
        return importlib.import_module(f"cdmllab.{name}")
    raise AttributeError(f"module 'cdmllab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
