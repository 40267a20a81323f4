"""Protocols by name or from a file.

The table at the end maps each name to a function that loads the protocol.
"""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from cdmllab.data import (
    att_faces,
    digits,
    identity_protocols,
    lfw,
    omniglot,
    pairs,
    verification,
)
from cdmllab.data.crop import FACE_PX, Square
from cdmllab.data.registry import VerificationProtocol
from cdmllab.errors import CdmlLabError, did_you_mean, plain
from cdmllab.evaluate import face_sets, npz
from cdmllab.evaluate.cropping import cropped, refuse, side_of_whole
from cdmllab.evaluate.protocol import Protocol, TemplateList
from cdmllab.faces import FACTORS, SIZES
from cdmllab.faces import protocols as lab
from cdmllab.preprocessing import WHOLE

_LONGEST = 1000  # characters of a pattern; matching takes time quadratic in it
Loader = Callable[[int | None, Square | None], Protocol]
"""From the size of the network's input in pixels (None: the protocol's own) and the part of a face
that it sees (None: all of it) to the protocol."""

# Real benchmarks remove roll by alignment, and a restyled face is not the same face at all.
PLAIN_WITHOUT = ("restyling", "roll")


def _there() -> str:
    return ""


class ProtocolEntry(NamedTuple):
    """A row of the table."""

    about: str
    load: Loader
    missing: Callable[[], str] = _there  # how to get missing data, in a sentence; empty if present


def names() -> tuple[str, ...]:
    """The names of all protocols."""
    return tuple(_TABLE)


def about(name: str) -> str:
    """A protocol's description, a noun phrase."""
    return _TABLE[name].about


def missing(name: str) -> str:
    """How to get a protocol's missing data, in a sentence; empty if nothing is missing."""
    if name in _TABLE:
        return _TABLE[name].missing()
    return "" if Path(name).is_file() else f"{name} does not exist"


def matching(patterns: Iterable[str]) -> list[str]:
    """Expand patterns such as ``lab/*`` to names, each once; files are kept unchanged.

    Raises
    ------
    CdmlLabError : a pattern matches no protocol and is not a file of a known type
    """
    matched: list[str] = []
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
                f"no protocol {plain(pattern, 60)!r}{hint}; choose one of {', '.join(_TABLE)}, "
                f"or a {' or '.join(_READERS)} file"
            )
        matched += some
    return list(dict.fromkeys(matched))


def load(
    name: str, size: int | None = None, world: int = 0, square: Square | None = None
) -> Protocol:
    """Load a protocol, or a file of images and pairs.

    Parameters
    ----------
    name : as in `names`, or the path of an ``.npz`` file, see `cdmllab.evaluate.npz`
    size : of the images in pixels, for protocols that have several
    world : seed of the face lab's people, for its protocols
    square : the part of an aligned face that the network sees, see `preprocessing.crop_of`

    Raises
    ------
    CdmlLabError : there is no such protocol, its data is missing, or `square` is given and the
        images are not aligned faces
    """
    square = None if square == WHOLE else square  # all of it, so nothing is cropped
    # The face lab draws its people from a seed, called the world; other sets have one only.
    if world and not in_lab(name):
        raise CdmlLabError(
            f"only protocols of the face lab have worlds: {name} cannot be drawn from world {world}"
        )
    if in_lab(name):
        prefix, recipe = name.split("/")
        return _lab(prefix, recipe, size, square, world)
    if name in _TABLE:
        return _TABLE[name].load(size, square)
    # Not a name: a file, or an error that suggests a similar name.
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
    """Whether a protocol is one of the face lab's."""
    return name in _TABLE and name.split("/")[0] in _LAB


def _lab(
    prefix: str, recipe: str, size: int | None, square: Square | None = None, world: int = 0
) -> Protocol:
    face_px = size or FACE_PX
    # Render the complete face so large that its crop
    # has the network's size, within the lab's limits.
    if square is not None:
        face_px = min(max(side_of_whole(square, face_px), SIZES[0]), SIZES[1])
    drawn = lab.load(recipe, size=face_px, seed=world, **_LAB[prefix])
    # Nuisances by name and unit, such as "yaw (degrees)", each of shape [n].
    nuisances = {
        f"{factor} ({about.unit})" if about.unit else factor: drawn.nuisances.values[factor]
        .double()
        .numpy()
        for factor, about in FACTORS.items()
    }
    templates = None if drawn.templates is None else TemplateList(*drawn.templates)
    protocol = Protocol(
        f"{prefix}/{recipe}", drawn, drawn.pairs, drawn.identity, templates, nuisances=nuisances
    )
    return cropped(protocol, square, size)


def _about_lab(prefix: str, recipe: str) -> str:
    # The options of the prefix in words, after the recipe's own description.
    notes = [", every pair" if _LAB[prefix].get("every_pair") else ""]
    notes += [f", without {' and '.join(PLAIN_WITHOUT)}" if _LAB[prefix].get("without") else ""]
    return lab.about(recipe) + "".join(notes)


def _verification(name: str, known: VerificationProtocol) -> ProtocolEntry:
    load = face_sets.pairs if known.kind == "pairs" else face_sets.templates
    return ProtocolEntry(
        known.title, partial(load, name), lambda: verification.available(name).how_to_get
    )


def _omniglot(name: str, note: str, choose: Callable[[ArrayLike], pairs.Pairs]) -> ProtocolEntry:
    # The second small set without the alphabets that it shares with the first.
    part, shared = "images_background_small2", ("Greek", "Latin")
    return ProtocolEntry(
        f"Omniglot's characters of alphabets outside of its first small set{note}",
        partial(face_sets.handwriting, name, part, shared, choose),
        partial(omniglot.missing, part),
    )


def _lfw(about: str, name: str, view: str, folds: tuple[int, ...] = ()) -> ProtocolEntry:
    return ProtocolEntry(about, partial(face_sets.lfw_archive, name, view, folds), lfw.missing)


_READERS: dict[str, Callable[[Path], Protocol]] = {".npz": npz.read, ".bin": npz.bin_file}

# Every recipe of the lab exists in each of these variants.
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
        "the digits 7, 8 and 9, for networks trained without them", _digits_strangers
    ),
    **{name: _verification(name, known) for name, (known, _) in verification.TABLE.items()},
    "lfw/view2": _lfw("LFW's View 2 from its archive, all ten folds", "lfw/view2", "2"),
    "lfw/folds0-4": _lfw(
        "folds 0 to 4 of LFW's View 2, for networks trained without their people",
        "lfw/folds0-4",
        "2",
        (0, 1, 2, 3, 4),
    ),
    "lfw/folds5-9": _lfw(
        "folds 5 to 9 of LFW's View 2, for networks trained without their people",
        "lfw/folds5-9",
        "2",
        (5, 6, 7, 8, 9),
    ),
    "lfw/view1": _lfw("LFW's View 1, for choosing settings", "lfw/view1", "1-test"),
    "att_faces": ProtocolEntry(
        "AT&T's database of faces, 40 people in 10 folds",
        partial(face_sets.att, "att_faces"),
        att_faces.missing,
    ),
    "omniglot/strangers": _omniglot("omniglot/strangers", "", pairs.sample),
    "omniglot-all/strangers": _omniglot(
        "omniglot-all/strangers", ", every pair", identity_protocols.every_pair
    ),
    **{
        f"{prefix}/{recipe}": ProtocolEntry(
            _about_lab(prefix, recipe), partial(_lab, prefix, recipe)
        )
        for prefix, options in _LAB.items()
        for recipe in lab.names()
        if recipe != lab.TEMPLATES or set(options) <= {"part"}  # templates have no other variants
    },
}
