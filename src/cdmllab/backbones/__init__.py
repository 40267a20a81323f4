"""Networks that turn a picture into an embedding."""

import difflib
import inspect
from collections.abc import Callable
from functools import partial

from cdmllab.backbones.base import Backbone, Precision
from cdmllab.backbones.dlib_resnet import DlibResNet
from cdmllab.backbones.iresnet import IResNet
from cdmllab.backbones.lightweight import Lightweight
from cdmllab.backbones.small import SmallNet

__all__ = ["Backbone", "DlibResNet", "IResNet", "Lightweight", "Precision", "SmallNet", "create", "names"]

DEPTHS = {"r18": (2, 2, 2, 2), "r34": (3, 4, 6, 3), "r50": (3, 4, 14, 3), "r100": (3, 13, 30, 3)}

_TABLE: dict[str, Callable[..., Backbone]] = {
    **{name: partial(IResNet, depths) for name, depths in DEPTHS.items()},
    **{f"{name}_lite": partial(IResNet, depths, width=32) for name, depths in DEPTHS.items()},
    "lightweight": Lightweight,
    "small": SmallNet,
    "dlib_resnet": DlibResNet,  # for public weights: it sees 150 pixels and gives 128 dimensions
}


def names() -> tuple[str, ...]:
    """The backbones there are."""
    return tuple(_TABLE)


def create(name: str, **options: object) -> Backbone:
    """Build a backbone: input 112 x 112 pixels, 3 channels, embeddings of 512 numbers, unless options say otherwise.

    Parameters
    ----------
    name : one of `names()`; ``_lite`` is half the width. ``small`` is for 32 pixels and 64 numbers
    options : as in the network's class: `embedding_dim`, `size`, `channels` in all

    Raises
    ------
    ValueError : unknown name or option, or an option out of range

    Examples
    --------
    >>> import torch
    >>> create("r18_lite").eval()(torch.zeros(1, 3, 112, 112)).shape
    torch.Size([1, 512])
    """
    if name not in _TABLE:
        close = difflib.get_close_matches(str(name).lower().replace("-", "_"), _TABLE, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown backbone {name!r}; {hint}there are: {', '.join(_TABLE)}")
    build = _TABLE[name]
    known = [key for key in inspect.signature(build).parameters if key != "depths"]
    for key in options:
        if key not in known:
            raise ValueError(f"backbone {name!r} has no option {key!r}; it has: {', '.join(known)}")
    return build(**options)
