"""Identity folders: one folder of images per person, as most data sets are published."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cdmllab._util.files import printable, replacing
from cdmllab.data.decode import Colour, decode, stored
from cdmllab.data.sets import ArraySet
from cdmllab.data.walk import FEW, SUFFIXES, LeftOut, summary, walk
from cdmllab.errors import DataError


class Listing(NamedTuple):
    """The contents of an identity folder, in natural order (s2 before s10)."""

    root: Path
    names: tuple[str, ...]  # of the identities, printable
    files: tuple[Path, ...]  # [n]
    labels: NDArray[np.int64]  # [n]
    left_out: tuple[LeftOut, ...]  # files and folders that are not read, and why

    @property
    def num_identities(self) -> int:
        """The number of identities."""
        return len(self.names)


def listing(root: Path | str, *, min_images: int = 1, ignore: Iterable[str] = ()) -> Listing:
    """List the images of every identity below `root`.

    Folders may be nested; each folder that has images is an identity.

    Parameters
    ----------
    root : the folder of folders
    min_images : identities with fewer are left out
    ignore : patterns of files and folders to leave out, see `cdmllab.data.walk.walk`

    Raises
    ------
    DataError : not a folder, or no images in its folders; the message names what was left out
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder")
    names: list[str] = []
    files: list[Path] = []
    labels: list[int] = []
    folders, left_out = walk(root, ignore)
    for folder in folders:
        if len(folder.images) < min_images:
            left_out += [LeftOut(below(file, root), FEW, True) for file in folder.images]
            continue
        labels += [len(names)] * len(folder.images)
        files += folder.images
        names.append(below(folder.path, root))
    if not files:
        # Name the most frequent reason, which often explains why nothing was found.
        instead = "".join(f"; left out {line}" for line in summary(left_out)[:1])
        raise DataError(f"{root} contains no folders of images ({', '.join(SUFFIXES)}){instead}")
    return Listing(
        root, tuple(names), tuple(files), np.array(labels, dtype=np.int64), tuple(left_out)
    )


def below(path: Path, root: Path) -> str:
    """The path below `root`, printable, with slashes."""
    return printable(path.relative_to(root).as_posix())


def load(
    root: Path | str,
    *,
    colour: Colour = "RGB",
    fit: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
    min_images: int = 1,
) -> ArraySet:
    """Load an identity folder into memory; for a large one, make a pack with `cdmllab pack`.

    Parameters
    ----------
    fit : applied to each image (height, width, channels), to make all the same size; see
        `cdmllab.data.crop`

    Raises
    ------
    DataError : as `listing`; an image cannot be decoded, or differs in size from the first
    """
    contents = listing(root, min_images=min_images)
    images = []
    for file in contents.files:
        pixels = decode(stored(file), str(file), colour=colour)
        images.append(pixels if fit is None else fit(pixels))
        if images[-1].shape != images[0].shape:
            raise DataError(
                f"{file}: its shape is {images[-1].shape}, that of the first {images[0].shape}"
            )
    return ArraySet(np.stack(images), contents.labels, contents.num_identities, contents.names)


def save(
    root: Path | str, images: NDArray[np.uint8], labels: ArrayLike, names: Sequence[str] = ()
) -> None:
    """Write images as PNG into identity folders, ``<name of the identity>/000.png`` ...

    Parameters
    ----------
    images : uint8, shape (n, height, width, 1 or 3)
    labels : shape (n,)
    names : of the identities; default ``person_000`` ...
    """
    count: dict[int, int] = {}  # images written so far, by identity
    for image, label in zip(images, np.asarray(labels).tolist(), strict=True):
        name = names[label] if names else f"person_{label:03d}"
        with replacing(Path(root) / name / f"{count.get(label, 0):03d}.png") as temporary:
            Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(temporary, "PNG")
        count[label] = count.get(label, 0) + 1
