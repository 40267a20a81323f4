"""Protocols on faces that nobody has trained on, in the shapes of the published ones, with known
nuisances.

All people come from the numbers that `FaceWorld` keeps back.
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
_PARTS = {"test": RESERVED, "validation": RESERVED + 200_000}
KEPT_BYTES = 512 * 2**20
_kept: dict[tuple[object, ...], LabProtocol] = {}  # the oldest first


def names() -> tuple[str, ...]:
    """The protocols there are."""
    return (*RECIPES, TEMPLATES)


def about(name: str) -> str:
    """What a protocol compares, in half a sentence."""
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
    """Draw a protocol, or take it from those that were asked for last, which are kept up to 512 MiB
    of images.

    Parameters
    ----------
    name : one of `names()`
    size : of the images, in pixels
    seed : the world's
    part : ``"test"``, or ``"validation"`` for choosing settings: other people, same recipe
    every_pair : compare all images of a fold instead of a balanced sample, for FARs of 1e-3 and
        1e-4
    without : nuisance factors that are switched off

    Raises
    ------
    ValueError : unknown name, part or factor; `every_pair` or `without` for templates
    """
    _check(name)
    nuisance.check_factors(dict.fromkeys(without))
    if name == TEMPLATES and (every_pair or without):
        raise ValueError(
            f"the protocol {TEMPLATES!r} compares templates: it has neither every_pair nor without"
        )
    if part not in get_args(Part):
        raise ValueError(
            f"part must be one of {', '.join(map(repr, get_args(Part)))}; got {part!r}"
        )
    key = (name, size, seed, part, every_pair, without)
    found = _kept.pop(key, None) or _made(name, size, seed, part, every_pair, without)
    _kept[key] = found  # as the newest
    while len(_kept) > 1 and sum(protocol.nbytes for protocol in _kept.values()) > KEPT_BYTES:
        del _kept[next(iter(_kept))]
    return found


def forget() -> None:
    """Let go of all protocols that are kept."""
    _kept.clear()


def _made(
    name: str, size: int, seed: int, part: Part, every_pair: bool, without: tuple[str, ...]
) -> LabProtocol:
    if name == TEMPLATES:
        return templates.draw(size, seed, _PARTS[part])
    recipe = replace(RECIPES[name], per_fold=None) if every_pair else RECIPES[name]
    return compose(name, recipe, size=size, seed=seed, people=_PARTS[part], without=without)


def _check(name: str) -> None:
    if name not in names():
        raise ValueError(
            f"unknown lab protocol {name!r}{did_you_mean(name, names())}; there are: "
            f"{', '.join(names())}"
        )
