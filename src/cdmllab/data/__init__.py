"""Data sets and pair lists."""

from typing import TYPE_CHECKING

from cdmllab._util import lazy

if TYPE_CHECKING:
    from cdmllab.data import (
        align,
        att_faces,
        bins,
        digits,
        ijb,
        inspection,
        lfw,
        loaders,
        omniglot,
        packs,
        pairs,
        transforms,
        verification,
    )

__all__ = [
    "align",
    "att_faces",
    "bins",
    "digits",
    "ijb",
    "inspection",
    "lfw",
    "loaders",
    "omniglot",
    "packs",
    "pairs",
    "transforms",
    "verification",
]
__getattr__, __dir__ = lazy.modules(__name__, __all__)
