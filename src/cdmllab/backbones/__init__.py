"""Networks that turn a picture into an embedding."""

from torch import nn

from cdmllab.backbones.small import SmallNet

__all__ = ["SmallNet", "create", "names"]

_TABLE: dict[str, type[nn.Module]] = {"small": SmallNet}


def names() -> tuple[str, ...]:
    """The backbones there are."""
    return tuple(_TABLE)


def create(name: str, **options: object) -> nn.Module:
    """Build the backbone called `name`; options as in its class.

    Raises
    ------
    ValueError : unknown name, or an option out of range
    """
    if name not in _TABLE:
        raise ValueError(f"unknown backbone {name!r}; there are: {', '.join(_TABLE)}")
    return _TABLE[name](**options)
