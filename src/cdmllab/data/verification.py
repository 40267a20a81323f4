"""Verification sets by name: find them, load them, or report how to get them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdmllab._util.files import sha256
from cdmllab.data import bins, copies, ijb, paths, registry
from cdmllab.data.decode import Colour
from cdmllab.data.pairs import Pairs
from cdmllab.data.registry import DataSet, VerificationProtocol
from cdmllab.errors import DataError

TABLE = {
    name: (protocol, one)
    for one in registry.load().sets.values()
    for name, protocol in one.protocols.items()
}  # name of the protocol -> its entry, and the data set it belongs to


class VerificationSet(NamedTuple):
    """Images and pairs of them."""

    name: str
    images: NDArray[np.uint8]  # [n, height, width, 1 or 3], RGB
    pairs: Pairs
    copy: dict[str, str]  # which of the public files of this name it is, see `copy_of`


class Availability(NamedTuple):
    """Whether a set can be loaded, as a truth value, and how to get it if not."""

    path: Path | None
    how_to_get: str  # a sentence; empty if the set is there

    def __bool__(self) -> bool:
        return self.path is not None


def names() -> tuple[str, ...]:
    """The names of all sets."""
    return tuple(TABLE)


def available(name: str) -> Availability:
    """Look for a set in the data folders.

    A bin, ``.bin`` or ``.npz``, may be in ``verification/`` or in the data folder itself; a
    ``.bin`` also in the folder of a pack, where InsightFace puts it.

    Raises
    ------
    ValueError : there is no set of that name
    """
    protocol, data_set = _known(name)
    if protocol.kind == "templates":
        # The folder may have the name in lower or upper case; its meta file identifies it.
        pairs = f"meta/{name}_template_pair_label.txt"
        path = paths.find(f"{name}/{pairs}", f"{name.upper()}/{pairs}")
        path = path and path.parents[1]  # the folder of meta/ and loose_crop/
    else:
        path = paths.find(
            *(f"{place}{name}{end}" for place in ("verification/", "") for end in (".bin", ".npz"))
        )
        path = path or next(
            (file for root in paths.roots() for file in sorted(root.glob(f"*/{name}.bin"))), None
        )
    does = "creates it" if data_set.makes else "reports where to get it"
    how_to_get = (
        f"{protocol.title} is missing (looked in {paths.searched()}): `{data_set.command}` {does}"
    )
    return Availability(path, "" if path else how_to_get)


def load(name: str, colour: Colour = "RGB") -> VerificationSet:
    """Read a set of pairs into memory.

    Raises
    ------
    ValueError : there is no set of that name, or it is one of templates: use `load_templates`
    DataError : it is missing (the message says how to get it) or damaged
    """
    if _known(name)[0].kind == "templates":
        raise ValueError(f"{name} compares templates: read it with load_templates({name!r})")
    source = bins.read(_place(name))
    images = source.decoded(colour)
    return VerificationSet(name, images, source.pairs(), copy_of(source, images))


def copy_of(source: bins.Bin, images: NDArray[np.uint8]) -> dict[str, str]:
    """Identify a bin by its digests, and describe it if it is a known copy.

    See `cdmllab.data.copies`.

    Parameters
    ----------
    images : the result of `source.decoded`
    """
    file, content = sha256(source.path), copies.content(images, source.same)
    return {
        "file_sha256": file,
        "content_sha256": content,
        "known": copies.describe(source.path, file, content),
    }


def load_templates(name: str) -> ijb.TemplateSet:
    """Read the meta files of IJB-B or IJB-C; images are read on demand.

    Raises
    ------
    ValueError : there is no set of that name, or it is one of pairs: use `load`
    DataError : it is missing (the message says how to get it) or damaged
    """
    if _known(name)[0].kind == "pairs":
        raise ValueError(f"{name} compares images: read it with load({name!r})")
    return ijb.load(_place(name), name)


def _known(name: str) -> tuple[VerificationProtocol, DataSet]:
    if name not in TABLE:
        raise ValueError(f"unknown verification set {name!r}; the sets are {', '.join(TABLE)}")
    return TABLE[name]


def _place(name: str) -> Path:
    available_at = available(name)
    if available_at.path is None:
        raise DataError(available_at.how_to_get)
    return available_at.path
