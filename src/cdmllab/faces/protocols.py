"""Protocols on faces that nobody has trained on, in the shapes of the published ones, with known nuisances.

All people come from the numbers that `FaceWorld` keeps back. A recipe says what two pictures of a pair look like and
how alike the two people of an impostor pair are; everything else follows from the seed.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cdmllab.data.pairs import Pairs
from cdmllab.errors import did_you_mean
from cdmllab.faces import hashing, identity, nuisance
from cdmllab.faces.nuisance import Nuisances
from cdmllab.faces.render import fastest, render_latents
from cdmllab.faces.world import RESERVED

Part = Literal["test", "validation"]
Range = tuple[float, float]  # of a factor, in its unit; mirrored at random for the signed factors

FOLDS, PEOPLE = 10, 50  # people a fold
_PARTS = {"test": RESERVED, "validation": RESERVED + 200_000}
_SIBLINGS = 100_000  # added to the number of a person, gives the number of their lookalike


@dataclass(frozen=True)
class Recipe:
    """What a protocol's pairs look like.

    Attributes
    ----------
    about : half a sentence
    per_fold : genuine pairs in each of 10 folds, and as many impostor pairs; None compares every first image of a
        fold with every second one, which is what a low FAR needs
    strength : of the nuisances that no range sets
    first, second : ranges of factors in the first and in the second picture of every pair; both None for alike
    pictures : of each person in each of the two kinds
    lookalike : how alike the people of an impostor pair are: correlation of their latents, in [0, 1)
    """

    about: str
    per_fold: int | None = 300
    strength: float = 0.5
    first: Mapping[str, Range] = field(default_factory=dict)
    second: Mapping[str, Range] | None = None
    pictures: int = 3
    lookalike: float = 0.0


_CALM: dict[str, Range] = {"yaw": (0.0, 12.0), "mask": (0.0, 0.0), "occlusion": (0.0, 0.0)}

RECIPES: dict[str, Recipe] = {
    "lfw": Recipe("everyday pictures, as in LFW", strength=0.45, pictures=5),
    "cfp_ff": Recipe("frontal against frontal, as in CFP-FF", 350, 0.25, _CALM, pictures=5),
    "cfp_fp": Recipe("frontal against profile, as in CFP-FP", 350, 0.25, _CALM, _CALM | {"yaw": (60.0, 90.0)}),
    "agedb_30": Recipe("young against old, as in AgeDB-30", 300, 0.35, {"age": (0.0, 0.35)}, {"age": (0.85, 1.0)}),
    "calfw": Recipe(
        "young against old with alike impostors, as in CALFW",
        strength=0.35,
        first={"age": (0.0, 0.3)},
        second={"age": (0.6, 1.0)},
        lookalike=0.3,
    ),
    "cplfw": Recipe(
        "turned one way against the other with alike impostors, as in CPLFW",
        strength=0.45,
        first={"yaw": (30.0, 65.0)},
        second={"yaw": (-65.0, -30.0)},
        lookalike=0.4,
    ),
    "dose_yaw": Recipe("frontal against a yaw of 0 to 90 degrees", 300, 0.25, _CALM, _CALM | {"yaw": (0.0, 90.0)}),
    "dose_age": Recipe(
        "young against an age of 0 to 1", 300, 0.25, _CALM | {"age": (0.0, 0.0)}, _CALM | {"age": (0.0, 1.0)}
    ),
    "dose_occlusion": Recipe(
        "free against an occlusion of 0 to 1", 300, 0.25, _CALM, _CALM | {"occlusion": (0.0, 1.0)}
    ),
}
TEMPLATES = "ijb"
_TEMPLATES_ABOUT = "templates of 1 to 5 hard pictures, as in IJB"


class Template(NamedTuple):
    """Which pictures are pooled, as `cdmllab.metrics.templates.pool` takes it; n pictures."""

    template: NDArray[np.int64]  # [n]
    media: NDArray[np.int64]  # [n]
    detector_score: NDArray[np.float64]  # [n]


class LabProtocol:
    """n pictures, rendered when first read and then kept, and pairs of them (or of templates).

    Attributes
    ----------
    identity : who is shown, shape (n,)
    nuisances : what was added to each face, see `cdmllab.faces.nuisance`
    pairs : row numbers of pictures, or numbers of templates
    templates : None, or which pictures are pooled
    """

    def __init__(
        self, name: str, size: int, latents: Tensor, nuisances: Nuisances, who: NDArray[np.int64], pairs: Pairs,
        templates: Template | None = None,
    ) -> None:  # fmt: skip
        self.name, self.size = name, size
        self.identity, self.nuisances, self.pairs, self.templates = who, nuisances, pairs, templates
        self._latents = latents
        self._pictures = np.zeros((len(who), size, size, 3), dtype=np.uint8)
        self._drawn = np.zeros(len(who), dtype=bool)

    def __len__(self) -> int:
        return len(self.identity)

    @property
    def nbytes(self) -> int:
        """Of the pictures once all are rendered."""
        return self._pictures.nbytes

    def __repr__(self) -> str:
        what = "pictures" if self.templates is None else f"pictures in {self.templates.template.max() + 1:,} templates"
        return f"LabProtocol({self.name}: {len(self.pairs.same):,} pairs of {len(self):,} {what}, {self.size} px)"

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """The pictures of some rows, in their order: uint8 of shape (rows, size, size, 3), RGB."""
        wanted = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        missing = np.unique(wanted[~self._drawn[wanted]])
        if len(missing):
            rows_, device = torch.from_numpy(missing), fastest()
            drawn = render_latents(self._latents[rows_].to(device), self.nuisances.pick(rows_).to(device), self.size)
            self._pictures[missing] = drawn.permute(0, 2, 3, 1).cpu().numpy()
            self._drawn[missing] = True
        chosen: NDArray[np.uint8] = self._pictures[wanted]
        return chosen


KEPT_BYTES = 512 * 2**20
_kept: dict[tuple[object, ...], LabProtocol] = {}  # the oldest first


def names() -> tuple[str, ...]:
    """The protocols there are."""
    return (*RECIPES, TEMPLATES)


def about(name: str) -> str:
    """What a protocol compares, in half a sentence."""
    _check(name)
    return _TEMPLATES_ABOUT if name == TEMPLATES else RECIPES[name].about


def load(
    name: str,
    *,
    size: int = 112,
    seed: int = 0,
    part: Part = "test",
    every_pair: bool = False,
    without: tuple[str, ...] = (),
) -> LabProtocol:
    """Draw a protocol, or take it from those that were asked for last, which are kept up to 512 MiB of pictures.

    Parameters
    ----------
    name : one of `names()`
    size : of the pictures, in pixels
    seed : the world's
    part : ``"test"``, or ``"validation"`` for choosing settings: other people, same recipe
    every_pair : compare all images of a fold instead of a balanced sample, for FARs of 1e-3 and 1e-4
    without : nuisance factors that are switched off

    Raises
    ------
    ValueError : unknown name, part or factor; `every_pair` or `without` for templates
    """
    _check(name)
    nuisance.check_factors(dict.fromkeys(without))
    if name == TEMPLATES and (every_pair or without):
        raise ValueError(f"the protocol {TEMPLATES!r} compares templates: it has neither every_pair nor without")
    if part not in get_args(Part):
        raise ValueError(f"part must be one of {', '.join(map(repr, get_args(Part)))}; got {part!r}")
    key = (name, size, seed, part, every_pair, without)
    found = _kept.pop(key, None) or _made(name, size, seed, part, every_pair, without)
    _kept[key] = found  # as the newest
    while len(_kept) > 1 and sum(protocol.nbytes for protocol in _kept.values()) > KEPT_BYTES:
        del _kept[next(iter(_kept))]
    return found


def forget() -> None:
    """Let go of all protocols that are kept."""
    _kept.clear()


def _made(name: str, size: int, seed: int, part: Part, every_pair: bool, without: tuple[str, ...]) -> LabProtocol:
    if name == TEMPLATES:
        from cdmllab.faces.templates import draw

        return draw(size, seed, _PARTS[part])
    recipe = replace(RECIPES[name], per_fold=None) if every_pair else RECIPES[name]
    return compose(name, recipe, size=size, seed=seed, people=_PARTS[part], without=without)


def compose(
    name: str,
    recipe: Recipe,
    *,
    size: int = 112,
    seed: int = 0,
    people: int = RESERVED,
    without: tuple[str, ...] = (),
) -> LabProtocol:
    """A protocol from a recipe of your own; `people` is the number of the first person, `without` as in `load`."""
    kinds = [recipe.first] if recipe.second is None else [recipe.first, recipe.second]
    cast = FOLDS * PEOPLE
    # Groups of pictures: each kind of the people, then the second kind of their lookalikes.
    groups = [(kind, 0) for kind in range(len(kinds))]
    if recipe.lookalike:
        groups.append((len(kinds) - 1, _SIBLINGS))
    k = recipe.pictures
    person = np.tile(np.repeat(np.arange(cast), k), len(groups))
    group = np.repeat(np.arange(len(groups)), cast * k)
    who = torch.from_numpy(person + people + np.array([shift for _, shift in groups])[group])
    tag = zlib.crc32(name.encode())  # protocols share people, not pictures
    index = torch.from_numpy(np.tile(np.arange(k), len(groups) * cast) + 10 * group) + tag
    ranges = [{**kinds[kind], **dict.fromkeys(without, (0.0, 0.0))} for kind, _ in groups]
    n = _draw(seed, who, index, recipe.strength, ranges, torch.from_numpy(group))
    latents = identity.latents(seed, who)
    sibling = torch.from_numpy(group == len(kinds))
    if recipe.lookalike:
        model = identity.latents(seed, who[sibling] - _SIBLINGS)
        share = recipe.lookalike
        latents[sibling] = share * model + (1.0 - share * share) ** 0.5 * latents[sibling]
    pairs = _pair(person.reshape(len(groups), cast, k), recipe, len(kinds), seed)
    return LabProtocol(name, size, latents, n, who.numpy(), pairs)


def _draw(
    seed: int, who: Tensor, index: Tensor, strength: float, ranges: Sequence[Mapping[str, Range]], group: Tensor
) -> Nuisances:
    """Nuisances of a strength, with each group's ranges put in their place."""
    n = nuisance.nuisances(seed, who, index, strength=strength)
    names_ = list(nuisance.FACTORS)
    draws = hashing.uniform(hashing.key(seed, 0xD05E, who, index), 2 * len(names_))
    values = dict(n.values)
    for number, kind in enumerate(ranges):
        nuisance.check_factors(kind)
        for name, (low, high) in kind.items():
            column = 2 * names_.index(name)
            drawn = low + (high - low) * draws[:, column]
            if low >= 0.0 and nuisance.FACTORS[name].low < 0.0 and not _has_sides(ranges, name):
                drawn = torch.where(draws[:, column + 1] < 0.5, -drawn, drawn)
            values[name] = torch.where(group == number, drawn, values[name])
    return Nuisances(values, n.details, n.keys)


def _has_sides(ranges: Sequence[Mapping[str, Range]], name: str) -> bool:
    """Whether some group has a negative range of this factor, so that the sides are meant."""
    return any(kind.get(name, (0.0, 0.0))[0] < 0.0 for kind in ranges)


def _pair(person: NDArray[np.int64], recipe: Recipe, kinds: int, seed: int) -> Pairs:
    """Pairs within each fold; `person` of shape (groups, people, pictures) fixes what the row numbers are."""
    rows = np.arange(person.size).reshape(person.shape)
    if recipe.per_fold is None:
        return _every_pair(person, rows, kinds)
    rng = np.random.default_rng((seed, 0xFA1B))
    a, b = rows[0], rows[kinds - 1]
    impostors = rows[-1] if recipe.lookalike else None
    k = recipe.pictures
    if kinds == 1:
        i, j = np.triu_indices(k, k=1)
    else:
        i, j = (grid.ravel() for grid in np.indices((k, k)))
    each = recipe.per_fold // PEOPLE
    if each * PEOPLE != recipe.per_fold or each > len(i):
        raise ValueError(
            f"per_fold must be a multiple of {PEOPLE} and at most {PEOPLE * len(i)} with {k} pictures a person, "
            f"got {recipe.per_fold}"
        )
    first, second, same, fold = [], [], [], []
    for f in range(FOLDS):
        cast = np.arange(f * PEOPLE, (f + 1) * PEOPLE)
        for p in cast:
            chosen = rng.permutation(len(i))[:each]
            first += [*a[p, i[chosen]]]
            second += [*b[p, j[chosen]]]
        # Round the circle by different steps of less than half of it: always somebody else, no pair twice.
        circle = rng.permutation(cast)
        steps = rng.permutation(np.arange(1, PEOPLE // 2))[:each]
        for at, p in enumerate(circle):
            if impostors is not None:  # every person against their lookalike
                chosen = rng.permutation(k * k)[:each]
                first += [*a[p, chosen // k]]
                second += [*impostors[p, chosen % k]]
            else:
                first += [*a[p, rng.integers(0, k, each)]]
                second += [*b[circle[(at + steps) % PEOPLE], rng.integers(0, k, each)]]
        same += [True] * recipe.per_fold + [False] * recipe.per_fold
        fold += [f] * (2 * recipe.per_fold)
    return Pairs(np.array(first), np.array(second), np.array(same), np.array(fold))


def _every_pair(person: NDArray[np.int64], rows: NDArray[np.int64], kinds: int) -> Pairs:
    """All pairs of a first and a second image of each fold; lookalikes are further second images."""
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
        who, lookalike = person.ravel(), b >= rows[:kinds].size
        same = (who[a] == who[b]) & ~lookalike
        folds.append(Pairs(a, b, same, np.full(len(a), f)))
    return Pairs(*(np.concatenate(part) for part in zip(*folds, strict=True)))


def _check(name: str) -> None:
    if name not in names():
        raise ValueError(f"unknown lab protocol {name!r}{did_you_mean(name, names())}; there are: {', '.join(names())}")
