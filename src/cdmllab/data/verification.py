"""Verification sets by name: where they are, whether they are there, and who makes them."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdmllab._util.files import sha256
from cdmllab.data import bins, copies, ijb, paths
from cdmllab.data.decode import Colour
from cdmllab.data.pairs import Pairs
from cdmllab.errors import DataError


class Known(NamedTuple):
    """One line of the table."""

    title: str
    kind: Literal["pairs", "templates"]
    script: str  # in data_scripts/


TABLE = {
    "lfw": Known("LFW, View 2", "pairs", "lfw.py"),
    "cfp_fp": Known("CFP, frontal-profile", "pairs", "cfp.py"),
    "cfp_ff": Known("CFP, frontal-frontal", "pairs", "cfp.py"),
    "agedb_30": Known("AgeDB-30", "pairs", "agedb.py"),
    "calfw": Known("CALFW", "pairs", "calfw.py"),
    "cplfw": Known("CPLFW", "pairs", "cplfw.py"),
    "ijbb": Known("IJB-B, 1:1 verification", "templates", "ijbb.py"),
    "ijbc": Known("IJB-C, 1:1 verification", "templates", "ijbc.py"),
    "vn_celeb": Known("VN-Celeb, gallery against probes", "pairs", "vn_celeb.py"),
}


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
    known = _known(name)
    if known.kind == "templates":
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
    how = (
        f"{known.title} is not there (looked in {paths.searched()}): `python "
        f"data_scripts/{known.script}` makes it"
    )
    return Availability(path, "" if path else how)


def load(name: str, colour: Colour = "RGB") -> VerificationSet:
    """Read a set of pairs into memory.

    Raises
    ------
    ValueError : there is no set of that name, or it is one of templates, see `load_templates`
    DataError : it is not there, and how to get it; or it is damaged
    """
    if _known(name).kind == "templates":
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
    if _known(name).kind == "pairs":
        raise ValueError(f"{name} compares images: load({name!r}) reads it")
    return ijb.load(_place(name), name)


def _known(name: str) -> Known:
    if name not in TABLE:
        raise ValueError(f"unknown verification set {name!r}; there are: {', '.join(TABLE)}")
    return TABLE[name]


def _place(name: str) -> Path:
    found = available(name)
    if found.path is None:
        raise DataError(found.how)
    return found.path
