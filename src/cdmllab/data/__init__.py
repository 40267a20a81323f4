"""Data sets and pair lists."""

from typing import TYPE_CHECKING

from cdmllab._util import lazy

if TYPE_CHECKING:
    from cdmllab.data import (
        align,
        bins,
        digits,
        loaders,
        packs,
        pairs,
        transforms,
        verification,
    )

__all__ = [
    "align",
    "bins",
    "digits",
    "loaders",
    "packs",
    "pairs",
    "transforms",
    "verification",
]
__getattr__, __dir__ = lazy.modules(__name__, __all__)
