"""Margin softmax losses: one short module each, and the table of their names."""

import inspect
from collections.abc import Callable

from cdmllab.errors import did_you_mean
from cdmllab.margins.adacos import AdaCos
from cdmllab.margins.adaface import AdaFace
from cdmllab.margins.arcface import ArcFace
from cdmllab.margins.cdml import CDML
from cdmllab.margins.combined import Combined
from cdmllab.margins.cosface import CosFace
from cdmllab.margins.curricularface import CurricularFace
from cdmllab.margins.elasticface import ElasticFace
from cdmllab.margins.kappaface import KappaFace
from cdmllab.margins.liarcface import LiArcFace
from cdmllab.margins.magface import MagFace
from cdmllab.margins.mv_softmax import MVSoftmax
from cdmllab.margins.normface import NormFace
from cdmllab.margins.npcface import NPCFace
from cdmllab.margins.policy import Batch, MarginPolicy
from cdmllab.margins.recipes import arcface_torch
from cdmllab.margins.softmax import Softmax
from cdmllab.margins.sphereface import SphereFace
from cdmllab.margins.subcenter_arcface import SubcenterArcFace

__all__ = ["CDML", "ArcFace", "Batch", "MarginPolicy", "arcface_torch", "create", "names", "options", "recipes"]

_TABLE: dict[str, type[MarginPolicy]] = {
    "softmax": Softmax,
    "normface": NormFace,
    "sphereface": SphereFace,
    "cosface": CosFace,
    "arcface": ArcFace,
    "combined": Combined,
    "liarcface": LiArcFace,
    "adacos": AdaCos,
    "subcenter_arcface": SubcenterArcFace,
    "curricularface": CurricularFace,
    "mv_softmax": MVSoftmax,
    "npcface": NPCFace,
    "magface": MagFace,
    "adaface": AdaFace,
    "elasticface": ElasticFace,
    "kappaface": KappaFace,
    "cdml": CDML,
}
_RECIPES: dict[str, Callable[..., MarginPolicy]] = {"arcface_torch": arcface_torch}
_SIZES = ("num_identities", "embedding_dim")  # what a head tells a loss, not the user


def names() -> tuple[str, ...]:
    """The losses there are, from plain to dynamic."""
    return tuple(_TABLE)


def builder(name: str) -> Callable[..., MarginPolicy]:
    """The class of a loss, or the function of a recipe."""
    return _lookup(name)


def recipes() -> tuple[str, ...]:
    """Further names that `create` knows: one of the losses, by the arguments of other people's code."""
    return tuple(_RECIPES)


def options(name: str) -> dict[str, object]:
    """The options of a loss and their defaults, by name."""
    parameters = inspect.signature(_lookup(name)).parameters
    return {key: p.default for key, p in parameters.items() if key not in _SIZES}


def create(
    name: str, *, num_identities: int | None = None, embedding_dim: int | None = None, **chosen: object
) -> MarginPolicy:
    """Build the loss called `name`.

    Parameters
    ----------
    name : one of `names()` or `recipes()`
    num_identities, embedding_dim : passed on to the losses that keep something for every identity
    chosen : the loss's own options, see `options(name)`

    Raises
    ------
    ValueError : unknown name or option (with the nearest known one), or a value out of range
    """
    kind = _lookup(name)
    known = options(name)
    for key in chosen:
        if key not in known:
            raise ValueError(f"{name} has no option {key!r}{did_you_mean(key, known)}; it has: {', '.join(known)}")
    sizes = {"num_identities": num_identities, "embedding_dim": embedding_dim}
    wanted = inspect.signature(kind).parameters
    for key, value in sizes.items():
        if value is None and key in wanted and wanted[key].default is inspect.Parameter.empty:
            raise ValueError(f"{name} keeps something for every identity: give {key}")
    return kind(**{key: value for key, value in sizes.items() if key in wanted}, **chosen)


def _lookup(name: str) -> Callable[..., MarginPolicy]:
    known: dict[str, Callable[..., MarginPolicy]] = {**_TABLE, **_RECIPES}
    if name not in known:
        raise ValueError(f"unknown loss {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")
    return known[name]
