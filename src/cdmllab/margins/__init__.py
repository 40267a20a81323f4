"""Margin softmax losses: one short module each, and the table of their names."""

import difflib
import inspect

from cdmllab.margins.arcface import ArcFace
from cdmllab.margins.cdml import CDML
from cdmllab.margins.combined import Combined
from cdmllab.margins.normface import NormFace
from cdmllab.margins.policy import Batch, MarginPolicy
from cdmllab.margins.softmax import Softmax

__all__ = [
    "CDML",
    "ArcFace",
    "Batch",
    "Combined",
    "MarginPolicy",
    "NormFace",
    "Softmax",
    "create",
    "names",
    "options",
]

_TABLE: dict[str, type[MarginPolicy]] = {
    "softmax": Softmax,
    "normface": NormFace,
    "arcface": ArcFace,
    "combined": Combined,
    "cdml": CDML,
}


def names() -> tuple[str, ...]:
    """The losses there are, from plain to dynamic."""
    return tuple(_TABLE)


def options(name: str) -> dict[str, object]:
    """The options of a loss and their defaults, by name."""
    parameters = inspect.signature(_lookup(name).__init__).parameters
    return {key: p.default for key, p in parameters.items() if key not in ("self", "num_identities")}


def create(name: str, *, num_identities: int | None = None, **chosen: object) -> MarginPolicy:
    """Build the loss called `name`.

    Parameters
    ----------
    name : one of `names()`
    num_identities : passed on to the losses that keep something for every identity
    chosen : the loss's own options, see `options(name)`

    Raises
    ------
    ValueError : unknown name or option (with the nearest known one), or a value out of range
    """
    kind = _lookup(name)
    known = options(name)
    for key in chosen:
        if key not in known:
            raise ValueError(
                f"{name} has no option {key!r}{_nearest(key, known)}; it has: {', '.join(known)}"
            )
    if "num_identities" in inspect.signature(kind.__init__).parameters:
        chosen["num_identities"] = num_identities
    return kind(**chosen)  # type: ignore[arg-type]


def _lookup(name: str) -> type[MarginPolicy]:
    if name not in _TABLE:
        raise ValueError(f"unknown loss {name!r}{_nearest(name, _TABLE)}; there are: {', '.join(_TABLE)}")
    return _TABLE[name]


def _nearest(word: str, known: dict[str, object] | dict[str, type[MarginPolicy]]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
