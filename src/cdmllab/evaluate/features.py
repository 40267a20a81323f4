"""Embeddings of all of LFW by a fixed network, cached on disk: a training set of vectors."""

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
    """n embeddings, not normalised, in the order of `lfw.images`.

    `lfw.pairs(features)` gives View 2 as rows of these arrays, `lfw.people_in` a fold's people.
    """

    plain: NDArray[np.float32]  # [n, d]
    mirrored: NDArray[np.float32]  # [n, d] of the same images mirrored
    labels: NDArray[np.int64]  # [n] the identity, ascending
    files: tuple[str, ...]  # [n] "Aaron_Eckhart/Aaron_Eckhart_0001.jpg"
    names: tuple[str, ...]  # of the people, by label
    network_sha256: str  # see `cached.digest`
    images_sha256: str  # see `images_digest`
    preprocessing: preprocessing.Preprocessing

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_identities(self) -> int:
        """The number of people."""
        return len(self.names)

    @property
    def flip_sum(self) -> NDArray[np.float32]:
        """The sum of both embeddings of each image, shape (n, d), as `embed` with `flip`."""
        total: NDArray[np.float32] = self.plain + self.mirrored
        return total


def of_lfw(
    backbone: nn.Module,
    prepare: Mapping[str, Any],
    *,
    batch_size: int = 256,
    folder: Path | None = None,
) -> Features:
    """Embed all images, once per network, preprocessing and archive.

    Parameters
    ----------
    backbone : from images to embeddings; left in evaluation mode
    prepare : its preprocessing, including the crop, see `cdmllab.preprocessing.check`
    batch_size : images per forward pass
    folder : of the cache file; default ``features`` in the writable data folder

    Raises
    ------
    DataError : LFW is missing (the message says how to get it) or damaged
    """
    plain = preprocessing.check(prepare)
    key = {
        "network_sha256": digest(backbone),
        "images_sha256": images_digest(plain),
        "preprocessing": json.dumps(plain),
    }
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    path = (folder or paths.to_write() / FOLDER) / f"lfw__{name}.npz"
    with suppress(DataError):  # missing or damaged: compute it again
        features = read(path)
        # The file's name holds a short digest only, so compare the complete ones.
        if all(getattr(features, k) == key[k] for k in ("network_sha256", "images_sha256")):
            return features

    # Crop to the network's part of the face, and embed each image and its mirror image.
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
    return read(path)  # as a later call would, checks included


@reader("a file of features")
def read(path: Path) -> Features:
    """Read features from their file.

    Raises
    ------
    DataError : the file is missing or damaged, or is not a file of features
    """
    try:
        with npz.opened(path) as stored:
            a: dict[str, NDArray[Any]] = {key: stored[key] for key in _NUMBERS}
            a |= {key: stored.text(key) for key in _TEXTS}
        prepare = preprocessing.check(json.loads(str(a["preprocessing"])))
    except ValueError as error:
        raise DataError(f"{path} is not a file of features: {error}") from error
    # Check dimensions and lengths, so that a damaged file fails here and not in a training.
    for key, dimensions in (
        ("plain", 2),
        ("mirrored", 2),
        ("labels", 1),
        ("files", 1),
        ("names", 1),
    ):
        if a[key].ndim != dimensions:
            raise DataError(
                f"{path} is damaged: {key} must have {dimensions} dimensions, got {a[key].ndim}"
            )
    n = len(a["labels"])
    for key in ("plain", "mirrored", "files"):
        if len(a[key]) != n:
            raise DataError(f"{path} is damaged: it has {n:,} labels but {len(a[key]):,} {key}")
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
        prepare,
    )


def images_digest(prepare: Mapping[str, Any]) -> str:
    """SHA-256 over LFW's archive or folder, the crop, and the size of the crop.

    Raises
    ------
    DataError : the archive is missing; the message says how to get it
    """
    path = lfw.archive()
    if path is None:
        raise DataError(lfw.HOW_TO_GET)
    sha256 = hashlib.sha256(
        repr((lfw.box(preprocessing.crop_of(prepare)), prepare["size"])).encode()
    )
    sha256.update(lfw.digest(path).encode())
    return sha256.hexdigest()
