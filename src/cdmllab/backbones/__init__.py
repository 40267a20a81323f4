"""Networks that turn an image into an embedding."""

import inspect
from collections.abc import Callable
from functools import partial

from cdmllab._util import options as checks
from cdmllab.backbones.base import Backbone, Precision, fast_precision
from cdmllab.backbones.dlib_resnet import DlibResNet
from cdmllab.backbones.iresnet import IResNet
from cdmllab.backbones.irnet import IRNet
from cdmllab.backbones.lightweight import Lightweight
from cdmllab.backbones.small import SmallNet
from cdmllab.errors import did_you_mean

__all__ = [
    "Backbone", "DlibResNet", "IRNet", "IResNet", "Lightweight", "Precision", "SmallNet", "create",
    "fast_precision", "names", "options",
]  # fmt: skip

# Blocks in each of four stages. The r50 of arcface_torch is not torchvision's (3, 4, 6, 3).
DEPTHS = {"r18": (2, 2, 2, 2), "r34": (3, 4, 6, 3), "r50": (3, 4, 14, 3), "r100": (3, 13, 30, 3)}
_IR_NETS = {18: "r18", 34: "r34", 50: "r50", 101: "r100"}

_TABLE: dict[str, Callable[..., Backbone]] = {
    **{name: partial(IResNet, depths) for name, depths in DEPTHS.items()},
    **{f"{name}_lite": partial(IResNet, depths, width=32) for name, depths in DEPTHS.items()},
    "lightweight": Lightweight,
    "small": SmallNet,
    # The networks of AdaFace and CVLface, under their names: their ir_101 has the blocks of r100.
    **{f"ir_{number}": partial(IRNet, DEPTHS[like]) for number, like in _IR_NETS.items()},
    "dlib_resnet": DlibResNet,  # for public weights, made for 150 pixels and 128 dimensions
}


def names() -> tuple[str, ...]:
    """The names of all backbones."""
    return tuple(_TABLE)


def options(name: str) -> tuple[str, ...]:
    """The names of a backbone's options.

    Raises
    ------
    ValueError : unknown name
    """
    if name not in _TABLE:
        hint = did_you_mean(str(name).lower().replace("-", "_"), _TABLE)
        raise ValueError(f"unknown backbone {name!r}{hint}; there are: {', '.join(_TABLE)}")
    return tuple(key for key in inspect.signature(_TABLE[name]).parameters if key != "depths")


def create(name: str, **given: object) -> Backbone:
    """Build a backbone, by default for images of 3 x 112 x 112 pixels and 512 dimensions.

    Parameters
    ----------
    name : one of `names()`. The ``_lite`` networks have half the width; the ``ir_`` networks are
        those of AdaFace and CVLface. By default ``small`` takes 32 pixels and has 64 dimensions,
        ``dlib_resnet`` 150 pixels and 128 dimensions
    given : options of the network's class; all have `embedding_dim`, `size` and `channels`

    Raises
    ------
    ValueError : unknown name or option, or an option out of range

    Examples
    --------
    >>> import torch
    >>> create("r18_lite").eval()(torch.zeros(1, 3, 112, 112)).shape
    torch.Size([1, 512])
    """
    known = options(name)
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ValueError(
                f"backbone {name!r} has no option {key!r}{hint}; it has: {', '.join(known)}"
            )
    checks.check(_TABLE[name], given)
    return _TABLE[name](**given)
