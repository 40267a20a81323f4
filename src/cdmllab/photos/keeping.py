"""Aligned faces and their embeddings, which `cdmllab photos` stores only on request."""

from pathlib import Path

import numpy as np
from PIL import Image

from cdmllab._util.files import replacing
from cdmllab.photos.album import Album, Item
from cdmllab.photos.faces import Pixels
from cdmllab.photos.listing import Photos, refuse_content, refuse_inside

EMBEDDINGS = "embeddings.npz"


class Store:
    """A folder for faces and embeddings.

    It contains ``faces/PERSON/...png``, and ``embeddings.npz`` with the arrays ``embedding`` [n,
    d], ``person`` [n] and ``photo`` [n].
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def face(self, item: Item, pixels: Pixels) -> None:
        """Write an aligned face, as the network gets it."""
        # A photo's further faces get their number, so that no file is written twice.
        name = item.photo if item.number == 1 else f"{item.photo}_{item.number}"
        with replacing(self._folder / "faces" / f"{name}.png") as temporary:
            Image.fromarray(pixels).save(temporary, "PNG")

    def embeddings(self, album: Album) -> None:
        """Write the embeddings of an album."""
        photo = np.array([item.photo for item in album.items])
        with replacing(self._folder / EMBEDDINGS) as temporary, temporary.open("wb") as file:
            np.savez(file, embedding=album.embeddings, person=album.person, photo=photo)


def store(folder: Path | None, source: Photos) -> Store | None:
    """A store in a new or empty folder; None if nothing is to be stored.

    Raises
    ------
    CdmlLabError : the folder is not empty, or is inside the folder of photos
    """
    if folder is None:
        return None
    refuse_inside(folder, source.root)
    refuse_content(folder, "what is kept")
    return Store(folder)
