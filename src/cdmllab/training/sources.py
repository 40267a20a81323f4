"""Where training pictures come from, by the name a config gives."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from cdmllab.data import digits


class Source(NamedTuple):
    """Pictures in memory, ready for a backbone."""

    images: Tensor  # [n, channels, size, size] float32
    labels: Tensor  # [n] int64
    num_identities: int


def _digits(classes: Sequence[int] = range(7), held_out: float = 0.25, split_seed: int = 0) -> Source:
    """The part of scikit-learn's digits to train on; see `cdmllab.data.digits.split`."""
    kept, _ = digits.split(digits.load(classes), held_out, split_seed)
    return Source(kept.images, kept.labels, len(kept.classes))


_TABLE: dict[str, Callable[..., Source]] = {"digits": _digits}


def check(name: str, options: Mapping[str, Any]) -> None:
    """Raise a ValueError for a source or an option that does not exist."""
    if name not in _TABLE:
        raise ValueError(f"unknown data {name!r}; there is: {', '.join(_TABLE)}")
    known = list(inspect.signature(_TABLE[name]).parameters)
    for key in options:
        if key not in known:
            raise ValueError(f"data {name!r} has no option {key!r}; it has: {', '.join(known)}")


def load(name: str, options: Mapping[str, Any]) -> Source:
    """Load a source; options as its function takes them."""
    check(name, options)
    return _TABLE[name](**options)
