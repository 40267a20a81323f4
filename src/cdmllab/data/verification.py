"""Verification sets by name: where they are, whether they are there, and who makes them."""

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
}  # name of the protocol -> its entry, and the data set that it belongs to


class VerificationSet(NamedTuple):
    """Images and the pairs over them; `copy` says which of the files of this name it is, see
    `copy_of`.
    """

    name: str
    images: NDArray[np.uint8]  # [n, height, width, 1 or 3], RGB
    pairs: Pairs
    copy: dict[str, str]


class Availability(NamedTuple):
    """Whether a set can be loaded, and what to do if it cannot; true or false by itself."""

    path: Path | None
    how: str  # a sentence; empty when the set is there

    def __bool__(self) -> bool:
        return self.path is not None


def names() -> tuple[str, ...]:
    """The sets there are."""
    return tuple(TABLE)


def available(name: str) -> Availability:
    """Look for a set in the data folders.

    A bin is looked for in ``verification/``, in the folder itself, and in every pack's folder,
    where InsightFace puts it; as ``.bin`` or ``.npz``.

    Raises
    ------
    ValueError : there is no set of that name
    """
    protocol, data_set = _known(name)
    if protocol.kind == "templates":
        pairs = f"meta/{name}_template_pair_label.txt"
        path = paths.find(f"{name}/{pairs}", f"{name.upper()}/{pairs}")
        path = path and path.parents[1]
    else:
        path = paths.find(
            *(f"{place}{name}{end}" for place in ("verification/", "") for end in (".bin", ".npz"))
        )
        path = path or next(
            (file for root in paths.roots() for file in sorted(root.glob(f"*/{name}.bin"))), None
        )
    does = "makes it" if data_set.makes else "says where to get it"
    how = f"{protocol.title} is missing (looked in {paths.searched()}): `{data_set.command}` {does}"
    return Availability(path, "" if path else how)


def load(name: str, colour: Colour = "RGB") -> VerificationSet:
    """Read a set of pairs into memory.

    Raises
    ------
    ValueError : there is no set of that name, or it is one of templates, see `load_templates`
    DataError : it is not there, and how to get it; or it is damaged
    """
    if _known(name)[0].kind == "templates":
        raise ValueError(f"{name} compares templates: load_templates({name!r}) reads it")
    found = bins.read(_place(name))
    images = found.decoded(colour)
    return VerificationSet(name, images, found.pairs(), copy_of(found, images))


def copy_of(found: bins.Bin, images: NDArray[np.uint8]) -> dict[str, str]:
    """Which copy a bin is: its digests, and what the register knows of it; see
    `cdmllab.data.copies`.

    Parameters
    ----------
    images : as `found.decoded` gives them
    """
    file, content = sha256(found.path), copies.content(images, found.same)
    return {
        "file_sha256": file,
        "content_sha256": content,
        "known": copies.words(found.path, file, content),
    }


def load_templates(name: str) -> ijb.TemplateSet:
    """Read the meta files of IJB-B or IJB-C; images are read when they are asked for.

    Raises
    ------
    ValueError : there is no set of that name, or it is one of pairs, see `load`
    DataError : it is not there, and how to get it; or it is damaged
    """
    if _known(name)[0].kind == "pairs":
        raise ValueError(f"{name} compares images: load({name!r}) reads it")
    return ijb.load(_place(name), name)


def _known(name: str) -> tuple[VerificationProtocol, DataSet]:
    if name not in TABLE:
        raise ValueError(f"unknown verification set {name!r}; there are: {', '.join(TABLE)}")
    return TABLE[name]


def _place(name: str) -> Path:
    found = available(name)
    if found.path is None:
        raise DataError(found.how)
    return found.path
