"""The registry of losses by name, including those of other packages."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar, get_args

from numpy.typing import ArrayLike
from torch import Tensor

from cdmllab.errors import CdmlLabError, did_you_mean
from cdmllab.margins.policy import MarginPolicy, check_choice

ENTRY_POINTS = "cdmllab.margins"

# Passed to a loss by the head, not by the user.
_FROM_HEAD = ("num_identities", "embedding_dim", "class_sizes", "scale")

# What can move the margin of a sample: its identity, its own angle, how it compares with its
# negatives, the length of its embedding, the progress of the training, or a random draw.
MovedBy = Literal["nothing", "class", "angle", "gap", "norm", "time", "chance"]

P = TypeVar("P", bound=type[MarginPolicy])
R = TypeVar("R", bound=Callable[..., MarginPolicy])


@dataclass(frozen=True)
class _Loss:
    build: type[MarginPolicy]
    year: int
    label: str
    moved_by: tuple[MovedBy, ...]
    direction: str


_LOSSES: dict[str, _Loss] = {}
_RECIPES: dict[str, Callable[..., MarginPolicy]] = {}


def register(
    name: str,
    *,
    year: int,
    label: str | None = None,
    moved_by: tuple[MovedBy, ...] = (),
    direction: str = "",
) -> Callable[[P], P]:
    """Decorate a loss to register it for `create`, presets, tables, figures and widgets.

    Another package can list the module of its losses under the entry points ``cdmllab.margins``,
    so that ``cdmllab train`` finds them as well::

        [project.entry-points."cdmllab.margins"]
        mine = "my_package.losses"

    Parameters
    ----------
    name : a Python identifier
    year : year of the first publication, by which tables are sorted
    label : the loss's name in figures and widgets; by default the name of the class
    moved_by : what the margin depends on with the loss's default options, see `MovedBy`
    direction : which samples get the larger margin, in a few words

    Raises
    ------
    ValueError : the name is not an identifier, or is taken by another loss; or `moved_by` names
        something that is not in `MovedBy`

    Examples
    --------
    >>> from cdmllab import margins
    >>> @margins.register("halfway", year=2026)
    ... class Halfway(margins.MarginPolicy):
    ...     def target(self, target_cos, batch):
    ...         return target_cos / 2
    >>> margins.create("halfway")
    Halfway(no margin)
    """
    if not name.isidentifier():
        raise ValueError(f"a loss is registered by a Python identifier, not {name!r}")
    for mover in moved_by:
        check_choice("moved_by", mover, get_args(MovedBy))

    def decorate(kind: P) -> P:
        other = _LOSSES.get(name)
        taken = other.build if other else _RECIPES.get(name)
        # Reloading a module registers the same loss again, which is allowed.
        if taken and (taken.__module__, taken.__qualname__) != (kind.__module__, kind.__qualname__):
            raise ValueError(
                f"the loss {name!r} is {taken.__module__}.{taken.__qualname__} already"
            )
        kind.name = name
        _LOSSES[name] = _Loss(kind, year, label or kind.__name__, moved_by, direction)
        return kind

    return decorate


def recipe(name: str) -> Callable[[R], R]:
    """Decorate a function that builds one of the losses from other code's arguments."""

    def decorate(build: R) -> R:
        _RECIPES[name] = build
        return build

    return decorate


def names() -> tuple[str, ...]:
    """The names of all losses, sorted by the year of publication."""
    _load_plugins()
    return tuple(sorted(_LOSSES, key=lambda name: (_LOSSES[name].year, name)))


def label(name: str) -> str:
    """A loss's name in figures and widgets; any other name is returned unchanged."""
    return _LOSSES[name].label if name in names() else name


def year(name: str) -> int:
    """The year in which a loss was first published.

    Examples
    --------
    >>> year("arcface")
    2018
    """
    return _registered(name).year


def moved_by(name: str) -> tuple[MovedBy, ...]:
    """What the margin of a loss depends on; empty for one that does not say.

    Examples
    --------
    >>> moved_by("magface"), direction("magface")
    (('norm',), 'longer embeddings get the larger margin')
    """
    return _registered(name).moved_by


def direction(name: str) -> str:
    """Which samples get the larger margin from a loss, in a few words; empty if it does not say."""
    return _registered(name).direction


def _registered(name: str) -> _Loss:
    if name not in names():
        raise ValueError(
            f"unknown loss {name!r}{did_you_mean(name, _LOSSES)}; there are: {', '.join(names())}"
        )
    return _LOSSES[name]


def recipes() -> tuple[str, ...]:
    """Further names for `create`: recipes that build a loss from the arguments of other code."""
    return tuple(_RECIPES)


def builder(name: str) -> Callable[..., MarginPolicy]:
    """The class of a loss, or the function of a recipe.

    Raises
    ------
    ValueError : unknown name
    """
    known: dict[str, Callable[..., MarginPolicy]] = {
        **{key: _LOSSES[key].build for key in names()},
        **_RECIPES,
    }
    if name not in known:
        raise ValueError(
            f"unknown loss {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}"
        )
    return known[name]


def options(name: str) -> dict[str, object]:
    """The options of a loss with their defaults.

    Examples
    --------
    >>> options("cosface")
    {'margin_cos': 0.35, 'gradient': 'exact'}
    """
    parameters = inspect.signature(builder(name)).parameters
    return {key: p.default for key, p in parameters.items() if key not in _FROM_HEAD}


def create(
    name: str,
    *,
    num_identities: int | None = None,
    embedding_dim: int | None = None,
    class_sizes: ArrayLike | Tensor | None = None,
    scale: float = 64.0,
    **chosen: object,
) -> MarginPolicy:
    """Build the loss called `name`.

    Parameters
    ----------
    name : one of `names()` or `recipes()`
    num_identities, embedding_dim : passed to losses that keep state for every identity
    class_sizes : training images of each identity, whole numbers of shape (num_identities,); passed
        to losses whose margin depends on them, which refuse to train without
    scale : the head's s, passed to losses whose constants depend on it
    chosen : options of the loss, see `options(name)`

    Raises
    ------
    ValueError : unknown name or option (the nearest known one is suggested), or a value is out of
        range

    Examples
    --------
    >>> create("arcface", margin_rad=0.4)
    ArcFace(cos(θ + m), m = 0.4 rad (22.9°) for every sample)
    >>> create("arcface", margin=0.4)
    Traceback (most recent call last):
    ValueError: arcface has no option 'margin' ...
    """
    build = builder(name)
    known = options(name)
    for key in chosen:
        if key not in known:
            raise ValueError(
                f"{name} has no option {key!r}{did_you_mean(key, known)}; it has: "
                f"{', '.join(known)}"
            )
    sizes: dict[str, Any] = {
        "num_identities": num_identities,
        "embedding_dim": embedding_dim,
        "class_sizes": class_sizes,
        "scale": scale,
    }
    # Pass on only what the constructor accepts; what it requires has to be given.
    accepted = inspect.signature(build).parameters
    for key, value in sizes.items():
        if value is None and key in accepted and accepted[key].default is inspect.Parameter.empty:
            raise ValueError(f"{name} keeps something for every identity: give {key}")
    return build(**{key: value for key, value in sizes.items() if key in accepted}, **chosen)


# Cached, because entry points are slow to read. An error is not cached and is raised again.
@cache
def _load_plugins() -> None:
    """Import the modules of losses that other packages list; they register themselves."""
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:  # a plugin may raise anything
            source = entry.dist.name if entry.dist else entry.value
            raise CdmlLabError(
                f"the losses of {source} ({entry.value}) cannot be imported: {error}"
            ) from error
