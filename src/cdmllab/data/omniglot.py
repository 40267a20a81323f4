"""Omniglot: handwritten characters of 50 alphabets, 20 drawings each, as identities.

To make it an open-set problem, train on the characters of some alphabets and verify on others. In
the data folders it has the layout of torchvision: ``omniglot-py/images_background_small1.zip`` and
its like, or unpacked. Source: Lake, Salakhutdinov and Tenenbaum 2015; MIT licence.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from cdmllab.data import paths, registry
from cdmllab.data.archives import members
from cdmllab.data.crop import resize
from cdmllab.data.decode import decode, stored
from cdmllab.data.folders import below, listing
from cdmllab.data.sets import ArraySet
from cdmllab.data.walk import is_clutter, natural
from cdmllab.errors import DataError

_ENTRY = registry.get("omniglot")
PARTS = tuple(_ENTRY.optional)
HOW_TO_GET = _ENTRY.how_to_get


def available(part: str = "images_background_small1") -> bool:
    """Whether a part is in the data folders, zipped or unpacked."""
    return _place(part) is not None


def missing(part: str = "images_background_small1") -> str:
    """How to get a part, in a sentence; empty if it is there."""
    return "" if available(part) else HOW_TO_GET


def alphabets(part: str = "images_background_small1", path: Path | None = None) -> tuple[str, ...]:
    """The alphabets of a part, in natural order; `path` as in `load`."""
    return tuple(sorted({name.split("/")[0] for name, _ in _drawings(part, path)}, key=natural))


def load(
    part: str = "images_background_small1",
    *,
    only: Iterable[str] | None = None,
    without: Iterable[str] = (),
    size: int = 28,
    path: Path | None = None,
) -> ArraySet:
    """Read drawings into memory: white on black, uint8 (n, size, size, 1).

    The `names` of the result are characters, ``Alphabet/character01``.

    Parameters
    ----------
    part : one of `PARTS`
    only, without : alphabets to include (default: all), and to leave out
    size : width and height in pixels; the originals have 105
    path : the part's folder or zip; default: the one in the data folders

    Raises
    ------
    DataError : the part is missing (the message says how to get it), or has no such alphabet
    """
    # A misspelt alphabet is refused, before all drawings are decoded.
    included, excluded = None if only is None else set(only), set(without)
    if included is not None and (missing := sorted(included - set(alphabets(part, path)))):
        raise DataError(
            f"{part} has no alphabet {missing[0]!r}; it has: {', '.join(alphabets(part, path))}"
        )
    drawings = []
    for name, content in _drawings(part, path):
        alphabet = name.split("/")[0]
        if (included is None or alphabet in included) and alphabet not in excluded:
            # The files are black on white.
            ink = 255 - decode(content, f"{part}, {name}", colour="GRAY")
            drawings.append((name, resize(ink, size, size)))
    if not drawings:
        raise DataError(f"{part}: all alphabets are left out")
    # Archives and folders have other orders; the rows must not depend on it.
    drawings.sort(key=lambda item: natural(item[0]))
    names = [name.rsplit("/", 1)[0] for name, _ in drawings]
    characters = list(dict.fromkeys(names))  # each once, in order
    position = {character: k for k, character in enumerate(characters)}
    labels = np.array([position[name] for name in names])
    return ArraySet(
        np.stack([pixels for _, pixels in drawings]), labels, len(characters), characters
    )


def _place(part: str) -> Path | None:
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    return paths.find(*places(part))


def places(part: str) -> tuple[str, ...]:
    """The paths of a part below a data folder, unpacked and zipped."""
    return _ENTRY.places(part)


def _drawings(part: str, path: Path | None) -> Iterator[tuple[str, bytes]]:
    """Names, such as ``Alphabet/character01/0108_01.png``, and contents of all drawings."""
    place = path or _place(part)
    if place is None:
        raise DataError(HOW_TO_GET)
    if place.is_dir():
        for file in listing(place).files:
            yield below(file, place), stored(file)
    else:
        for name, content in members(
            place, lambda name: name.endswith(".png") and not is_clutter(name)
        ):
            if name.count("/") < 2:  # part, alphabet, character, drawing
                raise DataError(
                    f"{place}: {name} is not in the folders of an alphabet and a character"
                )
            yield name.split("/", 1)[1], content  # without the part's own folder
