"""Protocols by name, and the files that are protocols too.

The table at the end joins a name to a function that loads it.
"""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cdmllab.data import att_faces, digits, lfw, omniglot, pairs, verification
from cdmllab.data.crop import FACE_PX, Square
from cdmllab.data.registry import VerificationProtocol
from cdmllab.errors import CdmlLabError, did_you_mean, plain
from cdmllab.evaluate import face_sets, npz
from cdmllab.evaluate.cropping import cropped, refuse, side_of_whole
from cdmllab.evaluate.protocol import Protocol, TemplateList
from cdmllab.faces import FACTORS, SIZES
from cdmllab.faces import protocols as lab
from cdmllab.preprocessing import WHOLE

_LONGEST = 1000  # characters of a pattern; the time it takes grows with the square
Loader = Callable[[int | None, Square | None], Protocol]
"""From the size in pixels of the network's input (None: the protocol's own) and the part of a face
that it sees (None: all of it) to the protocol."""

PLAIN_WITHOUT = (
    "restyling",
    "roll",
)  # what real benchmarks align away, or what is not the same face at all


def _there() -> str:
    return ""


class ProtocolEntry(NamedTuple):
    """A line of the table."""

    about: str
    load: Loader
    missing: Callable[[], str] = (
        _there  # a sentence that says how to get it, empty when it is there
    )


def names() -> tuple[str, ...]:
    """The protocols that have a name."""
    return tuple(_TABLE)


def about(name: str) -> str:
    """What a protocol is, in half a sentence."""
    return _TABLE[name].about


def missing(name: str) -> str:
    """How to get what a protocol, or a file that is one, needs and is not there, in a sentence;
    empty when it is.
    """
    if name in _TABLE:
        return _TABLE[name].missing()
    return "" if Path(name).is_file() else f"{name} does not exist"


def matching(patterns: Iterable[str]) -> list[str]:
    """The names that some patterns stand for (``lab/*``); files stay as they are. No name comes
    twice.

    Raises
    ------
    CdmlLabError : a pattern that is neither a file nor the name of a protocol
    """
    found: list[str] = []
    for pattern in patterns:
        if len(pattern) > _LONGEST:
            raise CdmlLabError(
                f"the name of a protocol has at most {_LONGEST} characters, got "
                f"{plain(pattern, 60)}"
            )
        some = [name for name in _TABLE if fnmatchcase(name, pattern)]
        if not some and Path(pattern).suffix in _READERS:
            some = [pattern]
        if not some:
            hint = did_you_mean(pattern, _TABLE)
            raise CdmlLabError(
                f"there is no protocol {plain(pattern, 60)!r}{hint}; there are "
                f"{', '.join(_TABLE)}, "
                f"and {' and '.join(_READERS)} files"
            )
        found += some
    return list(dict.fromkeys(found))


def load(
    name: str, size: int | None = None, world: int = 0, square: Square | None = None
) -> Protocol:
    """Load a protocol, or a file of images and pairs.

    Parameters
    ----------
    name : as in `names`, or the path of an ``.npz`` file, see `cdmllab.evaluate.npz`
    size : of the images in pixels, for protocols that come in more than one
    world : seed of the face lab's people, for its protocols; another seed, other people
    square : the part of an aligned face that the network sees, see `preprocessing.crop_of`

    Raises
    ------
    CdmlLabError : there is no such protocol, its data is missing, or a part is wanted of what is
        no aligned face
    """
    square = None if square == WHOLE else square
    if world and not in_lab(name):
        raise CdmlLabError(
            f"only the face lab has more than one world: {name} cannot be drawn from world {world}"
        )
    if in_lab(name):
        prefix, recipe = name.split("/")
        return _lab(prefix, recipe, size, square, world)
    if name in _TABLE:
        return _TABLE[name].load(size, square)
    (name,) = matching([name])
    return cropped(_READERS[Path(name).suffix](Path(name)), square, size)


def _digits_known(size: int | None, square: Square | None = None) -> Protocol:
    refuse("digits/known", square)
    _, held_out = digits.split(digits.load(range(7)))
    return _digits("digits/known", held_out)


def _digits_strangers(size: int | None, square: Square | None = None) -> Protocol:
    refuse("digits/strangers", square)
    return _digits("digits/strangers", digits.load([7, 8, 9]))


def _digits(name: str, part: digits.Digits) -> Protocol:
    identity = part.labels.numpy()
    return Protocol(name, part.images, pairs.sample(identity), identity, mirror=False)


def in_lab(name: str) -> bool:
    """Whether a protocol is the face lab's."""
    return name in _TABLE and name.split("/")[0] in _LAB


def _lab(
    prefix: str, recipe: str, size: int | None, square: Square | None = None, world: int = 0
) -> Protocol:
    whole = size or FACE_PX
    if square is not None:
        whole = min(max(side_of_whole(square, whole), SIZES[0]), SIZES[1])
    drawn = lab.load(recipe, size=whole, seed=world, **_LAB[prefix])
    nuisances = {
        f"{factor} ({about.unit})" if about.unit else factor: drawn.nuisances.values[factor]
        .double()
        .numpy()
        for factor, about in FACTORS.items()
    }
    templates = None if drawn.templates is None else TemplateList(*drawn.templates)
    shown = Protocol(
        f"{prefix}/{recipe}", drawn, drawn.pairs, drawn.identity, templates, nuisances=nuisances
    )
    return cropped(shown, square, size)


def _about_lab(prefix: str, recipe: str) -> str:
    notes = [", every pair" if _LAB[prefix].get("every_pair") else ""]
    notes += [f", without {' and '.join(PLAIN_WITHOUT)}" if _LAB[prefix].get("without") else ""]
    return lab.about(recipe) + "".join(notes)


def _verification(name: str, known: VerificationProtocol) -> ProtocolEntry:
    load = face_sets.pairs if known.kind == "pairs" else face_sets.templates
    return ProtocolEntry(known.title, partial(load, name), lambda: verification.available(name).how)


def _lfw(about: str, name: str, view: str, folds: tuple[int, ...] = ()) -> ProtocolEntry:
    return ProtocolEntry(about, partial(face_sets.lfw_archive, name, view, folds), lfw.missing)


_READERS: dict[str, Callable[[Path], Protocol]] = {".npz": npz.read, ".bin": npz.bin_file}

_LAB: dict[str, dict[str, Any]] = {
    "lab": {},
    "lab-validation": {"part": "validation"},
    "lab-all": {"every_pair": True},
    "lab-plain": {"without": PLAIN_WITHOUT},
    "lab-plain-all": {"every_pair": True, "without": PLAIN_WITHOUT},
}

_TABLE: dict[str, ProtocolEntry] = {
    "digits/known": ProtocolEntry(
        "held-out images of the digits 0 to 6, 6,000 pairs", _digits_known
    ),
    "digits/strangers": ProtocolEntry(
        "the digits 7, 8 and 9, for networks that were trained without them", _digits_strangers
    ),
    **{name: _verification(name, known) for name, (known, _) in verification.TABLE.items()},
    "lfw/view2": _lfw("LFW from its archive, all ten folds", "lfw/view2", "2"),
    "lfw/folds0-4": _lfw(
        "its folds 0 to 4, for networks trained without their people",
        "lfw/folds0-4",
        "2",
        (0, 1, 2, 3, 4),
    ),
    "lfw/folds5-9": _lfw("its folds 5 to 9, likewise", "lfw/folds5-9", "2", (5, 6, 7, 8, 9)),
    "lfw/view1": _lfw("its View 1, for choosing settings", "lfw/view1", "1-test"),
    "att_faces": ProtocolEntry(
        "AT&T's faces, 40 people in 10 folds",
        partial(face_sets.att, "att_faces"),
        att_faces.missing,
    ),
    "omniglot/strangers": ProtocolEntry(
        "characters of alphabets that are not in Omniglot's first small set",
        partial(
            face_sets.handwriting,
            "omniglot/strangers",
            "images_background_small2",
            ("Greek", "Latin"),
        ),
        partial(omniglot.missing, "images_background_small2"),
    ),
    **{
        f"{prefix}/{recipe}": ProtocolEntry(
            _about_lab(prefix, recipe), partial(_lab, prefix, recipe)
        )
        for prefix, options in _LAB.items()
        for recipe in lab.names()
        if recipe != lab.TEMPLATES or set(options) <= {"part"}
    },
}
