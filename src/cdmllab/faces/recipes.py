"""Recipes of protocols, and protocols drawn from them.

A recipe describes the two images of a pair and how similar the two people of an impostor pair are;
everything else is determined by the seed.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdmllab.data.pairs import Pairs
from cdmllab.faces import hashing, identity, nuisance
from cdmllab.faces.nuisance import Nuisances
from cdmllab.faces.protocol import LabProtocol
from cdmllab.faces.world import RESERVED

# Of a factor, in its unit. A range of a signed factor is mirrored at random if it is not negative.
Range = tuple[float, float]

FOLDS, PEOPLE = 10, 50  # people per fold
_SIBLINGS = 100_000  # added to the number of a person to get the number of their lookalike


@dataclass(frozen=True)
class ProtocolRecipe:
    """A description of the pairs of a protocol.

    Attributes
    ----------
    about : a short description
    per_fold : genuine pairs in each of 10 folds, and as many impostor pairs; None compares every
        first image of a fold with every second one, as measurements at a low FAR need
    strength : of the nuisances without a range
    first, second : ranges of factors in the first and the second image of every pair; if `second`
        is None, both images are of the first kind
    images : per person and kind
    lookalike : similarity of the two people of an impostor pair: the correlation of their latents,
        in [0, 1)
    """

    about: str
    per_fold: int | None = 300
    strength: float = 0.5
    first: Mapping[str, Range] = field(default_factory=dict)
    second: Mapping[str, Range] | None = None
    images: int = 3
    lookalike: float = 0.0


_CALM: dict[str, Range] = {"yaw": (0.0, 12.0), "mask": (0.0, 0.0), "occlusion": (0.0, 0.0)}

RECIPES: dict[str, ProtocolRecipe] = {
    "lfw": ProtocolRecipe("everyday images, as in LFW", strength=0.45, images=5),
    "cfp_ff": ProtocolRecipe("frontal against frontal, as in CFP-FF", 350, 0.25, _CALM, images=5),
    "cfp_fp": ProtocolRecipe(
        "frontal against profile, as in CFP-FP", 350, 0.25, _CALM, _CALM | {"yaw": (60.0, 90.0)}
    ),
    "agedb_30": ProtocolRecipe(
        "young against old, as in AgeDB-30", 300, 0.35, {"age": (0.0, 0.35)}, {"age": (0.85, 1.0)}
    ),
    "calfw": ProtocolRecipe(
        "young against old with similar impostors, as in CALFW",
        strength=0.35,
        first={"age": (0.0, 0.3)},
        second={"age": (0.6, 1.0)},
        lookalike=0.3,
    ),
    "cplfw": ProtocolRecipe(
        "turned one way against the other with similar impostors, as in CPLFW",
        strength=0.45,
        first={"yaw": (30.0, 65.0)},
        second={"yaw": (-65.0, -30.0)},
        lookalike=0.4,
    ),
    "dose_yaw": ProtocolRecipe(
        "frontal against a yaw of 0 to 90 degrees", 300, 0.25, _CALM, _CALM | {"yaw": (0.0, 90.0)}
    ),
    "dose_age": ProtocolRecipe(
        "young against an age of 0 to 1",
        300,
        0.25,
        _CALM | {"age": (0.0, 0.0)},
        _CALM | {"age": (0.0, 1.0)},
    ),
    "dose_occlusion": ProtocolRecipe(
        "unoccluded against an occlusion of 0 to 1",
        300,
        0.25,
        _CALM,
        _CALM | {"occlusion": (0.0, 1.0)},
    ),
}


def compose(
    name: str,
    recipe: ProtocolRecipe,
    *,
    size: int = 112,
    seed: int = 0,
    people: int = RESERVED,
    without: tuple[str, ...] = (),
) -> LabProtocol:
    """Create a protocol from a recipe.

    Parameters
    ----------
    name : of the protocol; protocols of different names have different images
    recipe : what its pairs look like
    size, seed, without : as for `cdmllab.faces.protocols.load`
    people : number of the first person

    Raises
    ------
    ValueError : the recipe has an unknown factor, or more pairs than its images allow
    """
    kinds = [recipe.first] if recipe.second is None else [recipe.first, recipe.second]
    cast = FOLDS * PEOPLE
    # Groups of images: the people in each kind, then their lookalikes in the second kind.
    groups = [(kind, 0) for kind in range(len(kinds))]
    if recipe.lookalike:
        groups.append((len(kinds) - 1, _SIBLINGS))
    k = recipe.images
    # Rows: group by group, person by person, image by image.
    person = np.tile(np.repeat(np.arange(cast), k), len(groups))
    group = np.repeat(np.arange(len(groups)), cast * k)
    who = torch.from_numpy(person + people + np.array([shift for _, shift in groups])[group])
    tag = zlib.crc32(name.encode())  # protocols share their people, but not their images
    # Image numbers: up to ten per group, in a range of the protocol's own.
    index = torch.from_numpy(np.tile(np.arange(k), len(groups) * cast) + 10 * group) + tag
    ranges = [{**kinds[kind], **dict.fromkeys(without, (0.0, 0.0))} for kind, _ in groups]
    n = _draw(seed, who, index, recipe.strength, ranges, torch.from_numpy(group))
    latents = identity.latents(seed, who)
    sibling = torch.from_numpy(group == len(kinds))
    if recipe.lookalike:
        model = identity.latents(seed, who[sibling] - _SIBLINGS)  # who a lookalike resembles
        share = recipe.lookalike
        # Weights whose squares add up to 1: lookalikes are standard normal too.
        latents[sibling] = share * model + (1.0 - share * share) ** 0.5 * latents[sibling]
    pairs = _pair(person.reshape(len(groups), cast, k), recipe, len(kinds), seed)
    return LabProtocol(name, size, latents, n, who.numpy(), pairs)


def _draw(
    seed: int,
    who: Tensor,
    index: Tensor,
    strength: float,
    ranges: Sequence[Mapping[str, Range]],
    group: Tensor,
) -> Nuisances:
    """Nuisances of a strength, replaced in each group by values drawn from its ranges."""
    n = nuisance.nuisances(seed, who, index, strength=strength)
    factors = list(nuisance.FACTORS)
    # Two draws per factor: a value and a sign.
    draws = hashing.uniform(hashing.key(seed, 0xD05E, who, index), 2 * len(factors))
    values = dict(n.values)
    for number, kind in enumerate(ranges):
        nuisance.check_factors(kind)
        for name, (low, high) in kind.items():
            column = 2 * factors.index(name)
            drawn = low + (high - low) * draws[:, column]
            if low >= 0.0 and nuisance.FACTORS[name].low < 0.0 and not _has_sides(ranges, name):
                drawn = torch.where(draws[:, column + 1] < 0.5, -drawn, drawn)
            values[name] = torch.where(group == number, drawn, values[name])
    return Nuisances(values, n.details, n.keys)


def _has_sides(ranges: Sequence[Mapping[str, Range]], name: str) -> bool:
    """Whether some group has a negative range of this factor: then signs are not mirrored."""
    return any(kind.get(name, (0.0, 0.0))[0] < 0.0 for kind in ranges)


def _pair(person: NDArray[np.int64], recipe: ProtocolRecipe, kinds: int, seed: int) -> Pairs:
    """Pairs of image rows within each fold; `person` has shape (groups, people, images).

    Row numbers count the entries of `person` in order.
    """
    rows = np.arange(person.size).reshape(person.shape)
    if recipe.per_fold is None:
        return _every_pair(person, rows, kinds)
    rng = np.random.default_rng((seed, 0xFA1B))
    a, b = rows[0], rows[kinds - 1]
    impostors = rows[-1] if recipe.lookalike else None
    k = recipe.images
    # Of one kind: pairs of different images. Of two: every image with every other.
    if kinds == 1:
        i, j = np.triu_indices(k, k=1)
    else:
        i, j = (grid.ravel() for grid in np.indices((k, k)))
    each = recipe.per_fold // PEOPLE  # genuine pairs per person, and impostor pairs
    if each * PEOPLE != recipe.per_fold or each > len(i):
        raise ValueError(
            f"per_fold must be a multiple of {PEOPLE} and at most {PEOPLE * len(i)} with {k} "
            f"images per person, got {recipe.per_fold}"
        )
    first, second, same, fold = [], [], [], []
    for f in range(FOLDS):
        cast = np.arange(f * PEOPLE, (f + 1) * PEOPLE)
        for p in cast:
            chosen = rng.permutation(len(i))[:each]
            first += [*a[p, i[chosen]]]
            second += [*b[p, j[chosen]]]
        # Impostors: put the people on a circle and pair each with those a few steps ahead. With
        # different steps of less than half the circle, nobody meets themselves, and no two twice.
        circle = rng.permutation(cast)
        steps = rng.permutation(np.arange(1, PEOPLE // 2))[:each]
        for position, p in enumerate(circle):
            if impostors is not None:  # every person against their lookalike
                chosen = rng.permutation(k * k)[:each]
                first += [*a[p, chosen // k]]
                second += [*impostors[p, chosen % k]]
            else:
                first += [*a[p, rng.integers(0, k, each)]]
                second += [*b[circle[(position + steps) % PEOPLE], rng.integers(0, k, each)]]
        same += [True] * recipe.per_fold + [False] * recipe.per_fold
        fold += [f] * (2 * recipe.per_fold)
    return Pairs(np.array(first), np.array(second), np.array(same), np.array(fold))


def _every_pair(person: NDArray[np.int64], rows: NDArray[np.int64], kinds: int) -> Pairs:
    """All pairs of a first and a second image of each fold; lookalikes add second images."""
    folds = []
    for f in range(FOLDS):
        cast = slice(f * PEOPLE, (f + 1) * PEOPLE)
        first = rows[0, cast].ravel()
        if kinds == 1 and len(rows) == 1:
            i, j = np.triu_indices(len(first), k=1)
            a, b = first[i], first[j]
        else:
            second = rows[kinds - 1 :, cast].ravel()
            a, b = (side.ravel() for side in np.meshgrid(first, second, indexing="ij"))
        # Rows of lookalikes come last; they have their model's number but are other people.
        who, lookalike = person.ravel(), b >= rows[:kinds].size
        same = (who[a] == who[b]) & ~lookalike
        folds.append(Pairs(a, b, same, np.full(len(a), f)))
    return Pairs(*(np.concatenate(part) for part in zip(*folds, strict=True)))
