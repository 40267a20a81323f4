"""Verification protocols on rendered faces, in the form of the published ones.

Their nuisances are known, and their people are those that no `FaceWorld` contains, so nobody can
have been trained on.
"""

from dataclasses import replace
from typing import Literal, get_args

from cdmllab.errors import did_you_mean
from cdmllab.faces import nuisance, templates
from cdmllab.faces.protocol import LabProtocol
from cdmllab.faces.recipes import RECIPES, ProtocolRecipe, compose
from cdmllab.faces.world import RESERVED

__all__ = [
    "KEPT_BYTES",
    "TEMPLATES",
    "Part",
    "ProtocolRecipe",
    "about",
    "compose",
    "forget",
    "load",
    "names",
]

Part = Literal["test", "validation"]

TEMPLATES = templates.NAME
_PARTS = {"test": RESERVED, "validation": RESERVED + 200_000}  # the first person of each
KEPT_BYTES = 512 * 2**20  # memory for the images of protocols that `load` keeps
_kept: dict[tuple[object, ...], LabProtocol] = {}  # least recently used first


def names() -> tuple[str, ...]:
    """The names of all protocols."""
    return (*RECIPES, TEMPLATES)


def about(name: str) -> str:
    """A short description of what a protocol compares."""
    _check(name)
    return templates.ABOUT if name == TEMPLATES else RECIPES[name].about


def load(
    name: str,
    *,
    size: int = 112,
    seed: int = 0,
    part: Part = "test",
    every_pair: bool = False,
    without: tuple[str, ...] = (),
) -> LabProtocol:
    """Create a protocol, or return a kept one.

    The protocols used last are kept, with up to `KEPT_BYTES` of images.

    Parameters
    ----------
    name : one of `names()`
    size : width and height of the images, in pixels
    seed : the world's seed
    part : ``"test"``, or ``"validation"`` for choosing settings: the same recipe on other people
    every_pair : compare all pairs of images in a fold instead of a balanced sample, as FARs of 1e-3
        and 1e-4 need
    without : nuisance factors that are set to 0

    Raises
    ------
    ValueError : an unknown name, part or factor; `every_pair` or `without` for templates
    """
    _check(name)
    nuisance.check_factors(dict.fromkeys(without))
    if name == TEMPLATES and (every_pair or without):
        raise ValueError(
            f"the protocol {TEMPLATES!r} compares templates: every_pair and without do not apply"
        )
    if part not in get_args(Part):
        raise ValueError(
            f"part must be one of {', '.join(map(repr, get_args(Part)))}; got {part!r}"
        )
    key = (name, size, seed, part, every_pair, without)
    # Popped and stored again, which moves it to the end of the dictionary.
    protocol = _kept.pop(key, None) or _create(name, size, seed, part, every_pair, without)
    _kept[key] = protocol  # at the end: used last
    while len(_kept) > 1 and sum(kept.nbytes for kept in _kept.values()) > KEPT_BYTES:
        del _kept[next(iter(_kept))]  # the first is the least recently used
    return protocol


def forget() -> None:
    """Release all protocols that are kept."""
    _kept.clear()


def _create(
    name: str, size: int, seed: int, part: Part, every_pair: bool, without: tuple[str, ...]
) -> LabProtocol:
    if name == TEMPLATES:
        return templates.draw(size, seed, _PARTS[part])
    recipe = replace(RECIPES[name], per_fold=None) if every_pair else RECIPES[name]
    return compose(name, recipe, size=size, seed=seed, people=_PARTS[part], without=without)


def _check(name: str) -> None:
    if name not in names():
        raise ValueError(
            f"unknown lab protocol {name!r}{did_you_mean(name, names())}; the protocols are "
            f"{', '.join(names())}"
        )
