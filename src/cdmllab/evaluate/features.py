"""Embeddings of all of LFW by a fixed network, kept on the disk: a training set of vectors."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from cdmllab import preprocessing
from cdmllab._util.files import replacing
from cdmllab.data import lfw, npz, paths
from cdmllab.errors import DataError, reader
from cdmllab.evaluate.cached import digest
from cdmllab.evaluate.embedding import embed
from cdmllab.evaluate.npz import InMemory

FOLDER = "features"  # below the data folder
_NUMBERS = ("plain", "mirrored", "labels")
_TEXTS = ("files", "names", "network_sha256", "images_sha256", "preprocessing")


@dataclass(frozen=True)
class Features:
    """n embeddings as the network gives them, not normalised, in the order of `lfw.images`.

    `lfw.pairs(features)` gives View 2 as rows of these arrays, `lfw.people_in` a fold's people.
    """

    plain: NDArray[np.float32]  # [n, d]
    mirrored: NDArray[np.float32]  # [n, d] of the same images mirrored
    labels: NDArray[np.int64]  # [n] who is shown, rising
    files: tuple[str, ...]  # [n] "Aaron_Eckhart/Aaron_Eckhart_0001.jpg"
    names: tuple[str, ...]  # of the people, by label
    network_sha256: str  # as `judging.digest`
    images_sha256: str  # as `images_digest`
    preprocessing: preprocessing.Preprocessing

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_identities(self) -> int:
        """How many people there are."""
        return len(self.names)

    @property
    def flip_sum(self) -> NDArray[np.float32]:
        """The sum of both embeddings of each image, shape (n, d), as `embed` adds them."""
        total: NDArray[np.float32] = self.plain + self.mirrored
        return total


def of_lfw(
    backbone: nn.Module,
    prepare: Mapping[str, Any],
    *,
    batch_size: int = 256,
    folder: Path | None = None,
) -> Features:
    """The embeddings of all images, computed once for each network, preprocessing and archive.

    Parameters
    ----------
    backbone : from images to embeddings; left in evaluation mode
    prepare : its preprocessing, see `cdmllab.preprocessing.check`; the crop is part of it
    batch_size : images at a time
    folder : where the file is kept; default ``features`` in the data folder that is written to

    Raises
    ------
    DataError : LFW is not there, and how to get it; or it is damaged
    """
    plain = preprocessing.check(prepare)
    key = {
        "network_sha256": digest(backbone),
        "images_sha256": images_digest(plain),
        "preprocessing": json.dumps(plain),
    }
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    path = (folder or paths.to_write() / FOLDER) / f"lfw__{name}.npz"
    with suppress(DataError):  # it is not there, or damaged: it is computed
        found = read(path)
        if all(getattr(found, k) == key[k] for k in ("network_sha256", "images_sha256")):
            return found

    size = plain["size"]
    faces = lfw.images(size=(size, size), box=lfw.box(preprocessing.crop_of(plain)))
    use = partial(preprocessing.apply, preprocessing=plain)
    one, other = (
        embed(backbone, InMemory(images), batch_size, prepare=use).numpy()
        for images in (faces.images, faces.images[:, :, ::-1])
    )
    arrays: dict[str, Any] = {"plain": one, "mirrored": other, "labels": faces.labels, **key}
    arrays |= {"files": np.array(faces.files), "names": np.array(faces.names)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    return read(path)


@reader("a file of features")
def read(path: Path) -> Features:
    """Features from their file.

    Raises
    ------
    DataError : it is missing, damaged, or holds something else
    """
    try:
        with npz.opened(path) as stored:
            a: dict[str, NDArray[Any]] = {key: stored[key] for key in _NUMBERS}
            a |= {key: stored.text(key) for key in _TEXTS}
        said = preprocessing.check(json.loads(str(a["preprocessing"])))
    except ValueError as error:
        raise DataError(f"{path} holds no features: {error}") from error
    for key, dimensions in (
        ("plain", 2),
        ("mirrored", 2),
        ("labels", 1),
        ("files", 1),
        ("names", 1),
    ):
        if a[key].ndim != dimensions:
            raise DataError(
                f"{path} is damaged: {key} must have {dimensions} dimensions, and has {a[key].ndim}"
            )
    n = len(a["labels"])
    for key in ("plain", "mirrored", "files"):
        if len(a[key]) != n:
            raise DataError(f"{path} is damaged: {n:,} labels and {len(a[key]):,} {key}")
    if not (np.isfinite(a["plain"]).all() and np.isfinite(a["mirrored"]).all()):
        raise DataError(f"{path} has an embedding that is not finite")
    return Features(
        a["plain"],
        a["mirrored"],
        a["labels"],
        tuple(a["files"].tolist()),
        tuple(a["names"].tolist()),
        str(a["network_sha256"]),
        str(a["images_sha256"]),
        said,
    )


def images_digest(prepare: Mapping[str, Any]) -> str:
    """SHA-256 over LFW's archive or folder, the part of each image that is shown, and its size.

    Raises
    ------
    DataError : there is no archive, and how to get it
    """
    path = lfw.archive()
    if path is None:
        raise DataError(lfw.HOW)
    found = hashlib.sha256(
        repr((lfw.box(preprocessing.crop_of(prepare)), prepare["size"])).encode()
    )
    found.update(lfw.digest(path).encode())
    return found.hexdigest()
