"""Training sets by the name in a config; each is a `cdmllab.data.sets.TrainingSet`."""

import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cdmllab._util import options as checks
from cdmllab.data import digits, folders, lfw, omniglot, paths, registry
from cdmllab.data.opening import open_set
from cdmllab.data.packs import Pack
from cdmllab.data.sets import ArraySet, TrainingSet, at_least
from cdmllab.errors import DataError, did_you_mean
from cdmllab.faces import FaceWorld, difficulty, fastest
from cdmllab.faces.cache import CachedWorld


class DataSource(NamedTuple):
    """A row of the table."""

    about: str
    load: Callable[..., TrainingSet]
    # All three take the same options. `missing` says how to get the data, empty if it is there.
    missing: Callable[..., str]
    # As `load`, but without long work.
    look: Callable[..., TrainingSet] | None = None


def _digits(
    classes: Sequence[int] = range(7), held_out: float = 0.25, split_seed: int = 0
) -> TrainingSet:
    """The training part of scikit-learn's digits, see `cdmllab.data.digits.split`."""
    kept, _ = digits.split(digits.load(classes), held_out, split_seed)
    # Back from [-1, 1] to levels from 0 to 255, and from [n, c, h, w] to [n, h, w, c].
    levels = ((kept.images + 1.0) * 127.5).round().to(torch.uint8)
    return ArraySet(levels.permute(0, 2, 3, 1).numpy(), kept.labels.numpy(), len(kept.classes))


def _world(
    num_identities: int,
    images_per_identity: int,
    size: int = 112,
    strength: float = 0.65,
    label_noise: float = 0.0,
    world_seed: int = 0,
    first: int = 0,
    without: Sequence[str] = (),
) -> FaceWorld:
    """A world of the face lab, not rendered; see `cdmllab.faces.FaceWorld`."""
    return FaceWorld(
        num_identities,
        images_per_identity,
        size=size,
        strength=strength,
        label_noise=label_noise,
        seed=world_seed,
        first=first,
        without=without,
        device=fastest(),
    )


# `wraps` also gives it the signature of `_world`, from which `check` reads the options.
@functools.wraps(_world)
def _lab(**options: Any) -> TrainingSet:
    """A world of the face lab, rendered once into a cache in the data folder."""
    world = _world(**options)
    # Worlds with the same parameters share a cache.
    name = hashlib.sha256(json.dumps(world.parameters, sort_keys=True).encode()).hexdigest()[:12]
    return world.cached(paths.to_write() / "lab" / f"world-{name}", patience_s=3600.0)


def _pack(folder: str) -> TrainingSet:
    """An InsightFace pack: a path, or a name in a data folder such as ``casia_webface_112``."""
    return Pack(_place(folder))


def _stored(folder: str) -> TrainingSet:
    """A set in any format at a path or in a data folder, see `cdmllab.data.opening.open_set`."""
    return open_set(_place(folder))


def _folder(folder: str, min_images: int = 1) -> TrainingSet:
    """A folder of identities: a path, or a name in a data folder."""
    return folders.load(_place(folder), min_images=min_images)


def _lfw(without_folds: Sequence[int] = (0,), size: int = 112, min_images: int = 2) -> TrainingSet:
    """People of LFW-a who are in no pair of some folds of View 2 and have enough images."""
    faces = lfw.images(size=(size, size))
    return at_least(lfw.training_part(faces, lfw.pairs(faces), *without_folds), min_images)


def _omniglot(
    part: str = "images_background_small1", without: Sequence[str] = (), size: int = 32
) -> TrainingSet:
    """Omniglot's handwritten characters of some alphabets."""
    return omniglot.load(part, without=without, size=size)


def _place(folder: str) -> Path:
    path = _find(folder)
    if path is None:
        raise DataError(_missing(folder))
    return path


def _find(folder: str) -> Path | None:
    """Resolve an absolute path, a name in a data folder, or a path from the current folder."""
    path = Path(folder).expanduser()
    if path.is_absolute():
        return path if path.exists() else None
    maker = registry.load().maker(folder)
    # InsightFace's own pack of the same set counts as well.
    below = paths.find(folder, *([maker.pack] if maker and maker.pack else []))
    # A data folder has priority over the current folder.
    return below or (path if path.exists() else None)


def _missing(folder: str, **_: Any) -> str:
    if _find(folder):
        return ""
    if Path(folder).expanduser().is_absolute():
        return f"{folder} does not exist"
    maker = registry.load().maker(folder)
    hint = "" if maker is None else f": `{maker.command}` makes it"
    if maker is not None and maker.pack:
        hint += f", or put InsightFace's pack {maker.pack} there"
    return f"{folder} is neither in a data folder ({paths.searched()}) nor in the current one{hint}"


def _there(**_: Any) -> str:
    return ""


def _missing_lfw(**_: Any) -> str:
    return lfw.missing()


def _missing_omniglot(part: str = "images_background_small1", **_: Any) -> str:
    return omniglot.missing(part)


# What a config may name: a description, how to load it, and how to get missing data.
_TABLE: dict[str, DataSource] = {
    "digits": DataSource("scikit-learn's digits", _digits, _there),
    "lab": DataSource("a world of the face lab", _lab, _there, _world),
    "lfw": DataSource("LFW-a, without the people of some folds", _lfw, _missing_lfw),
    "omniglot": DataSource("handwritten characters", _omniglot, _missing_omniglot),
    "pack": DataSource("an InsightFace pack", _pack, _missing),
    "stored": DataSource(
        "a pack, WebDataset shards, Parquet, LMDB or a folder, read as it is", _stored, _missing
    ),
    "folder": DataSource("a folder of identities", _folder, _missing),
}


def check(name: str, options: Mapping[str, Any]) -> None:
    """Raise a ValueError for a source or an option that does not exist."""
    if name not in _TABLE:
        raise ValueError(
            f"unknown data {name!r}{did_you_mean(name, _TABLE)}; choose one of {', '.join(_TABLE)}"
        )
    known = inspect.signature(_TABLE[name].load).parameters
    for key in options:
        if key not in known:
            raise ValueError(
                f"data {name!r} has no option {key!r}{did_you_mean(key, known)}; it has: "
                f"{', '.join(known)}"
            )
    checks.check(_TABLE[name].load, options)
    for key, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and key not in options:
            raise ValueError(f"data {name!r} needs the option {key!r}")


def load(name: str, options: Mapping[str, Any]) -> TrainingSet:
    """Load a source.

    Raises
    ------
    ValueError : see `check`
    DataError : the data is missing or damaged
    """
    check(name, options)
    return _TABLE[name].load(**options)


def look(name: str, options: Mapping[str, Any]) -> TrainingSet:
    """As `load`, but without rendering a world of the face lab."""
    check(name, options)
    kind = _TABLE[name]
    return (kind.look or kind.load)(**options)


def missing(name: str, options: Mapping[str, Any]) -> str:
    """How to get missing data, in a sentence; empty if the data is there."""
    check(name, options)
    return _TABLE[name].missing(**options)


def known_easiness(source: TrainingSet) -> Tensor:
    """The true easiness of every image for an oracle margin, shape (n,), in [-1, 1].

    Raises
    ------
    DataError : the source is not a world of the face lab
    """
    if not isinstance(source, CachedWorld):
        raise DataError(
            f"easiness 'known' needs a world of the face lab, but the difficulty of {source!r} is "
            f"unknown"
        )
    return difficulty.easiness(difficulty.of(source.world), source.mislabelled)
