"""Identity folders: one folder a person, pictures inside; the form most data sets are handed out in."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cdmllab.data.decode import Colour, decode
from cdmllab.data.sets import ArraySet
from cdmllab.errors import DataError
from cdmllab.files import replacing

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff")


class Listing(NamedTuple):
    """What an identity folder holds, in natural order (s2 before s10)."""

    root: Path
    names: tuple[str, ...]  # of the identities
    files: tuple[Path, ...]  # [n]
    labels: NDArray[np.int64]  # [n]

    @property
    def num_identities(self) -> int:
        """How many identities."""
        return len(self.names)


def listing(root: Path | str, *, min_pictures: int = 1) -> Listing:
    """List the pictures of every identity below `root`; folders may be nested, each with pictures is an identity.

    Parameters
    ----------
    root : the folder of folders
    min_pictures : identities with fewer are left out

    Raises
    ------
    DataError : no folder, or no pictures in folders
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root} is no folder")
    names: list[str] = []
    files: list[Path] = []
    labels: list[int] = []
    for folder in _folders(root):
        pictures = sorted((file for file in folder.iterdir() if is_picture(file)), key=natural)
        if pictures and len(pictures) >= min_pictures:
            labels += [len(names)] * len(pictures)
            files += pictures
            names.append(folder.relative_to(root).as_posix())
    if not files:
        raise DataError(f"{root} holds no folders of pictures ({', '.join(SUFFIXES)})")
    return Listing(root, tuple(names), tuple(files), np.array(labels, dtype=np.int64))


def load(
    root: Path | str,
    *,
    colour: Colour = "RGB",
    fit: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
    min_pictures: int = 1,
) -> ArraySet:
    """An identity folder in memory. For large ones make a pack: `cdmllab pack`.

    Parameters
    ----------
    fit : applied to each picture (height, width, channels), to bring all to one size; see `cdmllab.data.crop`

    Raises
    ------
    DataError : as `listing`; a picture that cannot be decoded, or of another size than the first
    """
    found = listing(root, min_pictures=min_pictures)
    pictures = []
    for file in found.files:
        pixels = decode(file.read_bytes(), str(file), colour=colour)
        pictures.append(pixels if fit is None else fit(pixels))
        if pictures[-1].shape != pictures[0].shape:
            raise DataError(f"{file}: its shape is {pictures[-1].shape}, the first has {pictures[0].shape}")
    return ArraySet(np.stack(pictures), found.labels, found.num_identities, found.names)


def save(root: Path | str, images: NDArray[np.uint8], labels: ArrayLike, names: Sequence[str] = ()) -> None:
    """Write pictures as PNG into identity folders, ``<name of the identity>/000.png`` ...

    Parameters
    ----------
    images : uint8, shape (n, height, width, 1 or 3)
    labels : shape (n,)
    names : of the identities; default ``person_000`` ...
    """
    count: dict[int, int] = {}
    for image, label in zip(images, np.asarray(labels).tolist(), strict=True):
        name = names[label] if names else f"person_{label:03d}"
        with replacing(Path(root) / name / f"{count.get(label, 0):03d}.png") as temporary:
            Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(temporary, "PNG")
        count[label] = count.get(label, 0) + 1


def is_picture(file: Path) -> bool:
    """Whether a file's name ends like that of a picture and it is not hidden."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def natural(path: Path | str) -> tuple[tuple[int, int, str], ...]:
    """A sorting key in which 2 comes before 10."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", str(path))
    return tuple((0, int(piece), "") if piece[0].isdecimal() else (1, 0, piece) for piece in pieces)


def _folders(root: Path) -> Iterator[Path]:
    for folder in sorted((path for path in root.iterdir() if path.is_dir()), key=natural):
        if not folder.name.startswith("."):
            yield folder
            yield from _folders(folder)
