"""Read photos one at a time: decode them, then find, align and embed their faces.

Only the embeddings and small images of the faces stay in memory.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cdmllab import preprocessing
from cdmllab.data.crop import Square
from cdmllab.data.decode import decode, encode_jpeg, stored
from cdmllab.errors import CdmlLabError, DataError, cause
from cdmllab.evaluate.embedding import embed
from cdmllab.photos import finding
from cdmllab.photos.faces import Detector, Face, Pixels
from cdmllab.photos.listing import Photo, Photos

MOST_FACES = 4000
"""Faces that are compared at one time; group photos have many."""
_AT_A_TIME = 32  # faces
_QUALITY = 85  # of the JPEGs of faces for the report
SHOWN_PX = 112


class Network(NamedTuple):
    """A network from aligned faces to embeddings, with its preprocessing."""

    backbone: nn.Module
    prepare: preprocessing.Preprocessing  # see `cdmllab.preprocessing.check`
    name: str  # for reports
    flip: bool = False  # whether the mirrored image's embedding is added

    @property
    def size(self) -> int:
        """Side of its input in pixels."""
        return int(self.prepare["size"])

    @property
    def square(self) -> Square | None:
        """The part of an aligned face that is its input; None for all of it."""
        crop = preprocessing.crop_of(self.prepare)
        return None if crop == preprocessing.WHOLE else crop

    def embed(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings [n, d] of aligned faces, uint8 [n, size, size, 3]."""
        apply = partial(preprocessing.apply, preprocessing=self.prepare)
        images = torch.from_numpy(faces).permute(0, 3, 1, 2).contiguous()
        embeddings: Any = embed(
            self.backbone, images, _AT_A_TIME, flip=self.flip, prepare=apply
        ).numpy()
        return np.asarray(embeddings, dtype=np.float32)


class Item(NamedTuple):
    """A face to be compared."""

    photo: str  # its file, below the folder
    person: int  # row of the people, -1 if not known
    number: int  # by size, 1 for the largest face of the photo
    total: int  # number of faces in the photo
    turned: int  # degrees by which the photo was rotated to find the face
    eyes_px: float  # between the eyes, in the photo
    jpeg: bytes  # the aligned face, for the report


class Album(NamedTuple):
    """All faces of some photos with their embeddings."""

    source: Photos
    items: list[Item]  # [n]
    embeddings: NDArray[np.float32]  # [n, d]
    missing: dict[str, str]  # photo -> why none of its faces is compared

    @property
    def person(self) -> NDArray[np.int64]:
        """The person of each face, shape (n,)."""
        return np.array([item.person for item in self.items], dtype=np.int64)


def read(
    source: Photos,
    network: Network,
    detector: Detector,
    *,
    least_eyes_px: float = finding.FEWEST_EYES_PX,
    progress: Callable[[int, int], None] | None = None,
    keep: Callable[[Item, Pixels], None] | None = None,
) -> Album:
    """Find, align and embed the faces of photos.

    If the person of a photo is known, its largest face is assumed to be that person; otherwise
    every face is compared. A photo that cannot be read, or has no face that is large enough, is
    recorded as missing and skipped.

    Parameters
    ----------
    least_eyes_px : minimum distance between the eyes, in pixels
    progress : called with the number of photos read and of all photos
    keep : called with each face and its aligned pixels, as the network gets them

    Raises
    ------
    CdmlLabError : no photo has a face that can be compared; there are more than `MOST_FACES`; an
        embedding is zero or not finite
    """
    # Embed in batches as the faces arrive, so that full-size photos and crops never pile up.
    missing: dict[str, str] = {}
    items: list[Item] = []
    waiting: list[Pixels] = []
    parts: list[NDArray[np.float32]] = []

    def embed_waiting() -> None:
        if waiting:
            parts.append(network.embed(np.stack(waiting)))
            waiting.clear()

    # A photo that cannot be used is noted with its reason, and the next one is read.
    for done, photo in enumerate(source.photos, start=1):
        try:
            for item, pixels in _faces_of(photo, network, detector, least_eyes_px):
                items.append(item)
                waiting.append(pixels)
                if keep is not None:
                    keep(item, pixels)
        except DataError as error:
            missing[photo.name] = str(error)
        if len(items) > MOST_FACES:
            raise CdmlLabError(
                f"the photos of {source.root} show more than {MOST_FACES:,} faces, and every pair "
                "of faces would be compared: draw some of the photos with --sample"
            )
        if len(waiting) >= _AT_A_TIME:
            embed_waiting()
        if progress is not None:
            progress(done, len(source.photos))
    embed_waiting()
    if not items:
        raise nothing_usable(source, missing, "has a face that can be compared")
    embeddings = np.concatenate(parts)
    # An embedding without a direction has no cosine with any other.
    length = np.linalg.norm(embeddings, axis=1)
    if not (np.isfinite(length) & (length > 0)).all():
        worst = int(np.flatnonzero(~(np.isfinite(length) & (length > 0)))[0])
        raise CdmlLabError(
            f"{network.name} returned an embedding of length {length[worst]:g} for "
            f"{items[worst].photo}"
        )
    return Album(source, items, embeddings, missing)


def nothing_usable(source: Photos, missing: dict[str, str], lack: str) -> CdmlLabError:
    """The error if no photo can be used, with the reason of the first one."""
    name, why = next(iter(missing.items()))
    return CdmlLabError(
        f"none of the {len(source.photos):,} photos of {source.root} {lack}; {name}: "
        f"{why.removeprefix(f'{name}: ')}"
    )


def bytes_of(photo: Photo) -> bytes:
    """A photo's file.

    Raises
    ------
    DataError : it cannot be read
    """
    try:
        return stored(photo.path)
    except OSError as error:
        raise DataError(f"{photo.name} cannot be read ({cause(error)})") from error


def pixels_of(photo: Photo) -> Pixels:
    """A photo's pixels, RGB and upright.

    Raises
    ------
    DataError : it cannot be read
    """
    return decode(bytes_of(photo), photo.name)


def _faces_of(
    photo: Photo, network: Network, detector: Detector, least_eyes_px: float
) -> Iterator[tuple[Item, Pixels]]:
    pixels = pixels_of(photo)
    seen = finding.look(pixels, detector)
    faces = usable(seen.faces, least_eyes_px)
    # With a known person only the largest face counts; `faces` is sorted by size.
    for number, face in enumerate(faces[:1] if photo.person >= 0 else faces, start=1):
        thumbnail = finding.cut_out(pixels, face, SHOWN_PX)
        item = Item(
            photo.name,
            photo.person,
            number,
            len(seen.faces),
            seen.turned,
            face.eyes_px,
            encode_jpeg(thumbnail, _QUALITY),
        )
        yield item, finding.cut_out(pixels, face, network.size, network.square)


def usable(faces: list[Face], least_eyes_px: float = finding.FEWEST_EYES_PX) -> list[Face]:
    """The faces that are large enough to be compared, largest first.

    Raises
    ------
    DataError : there is none; names the reason
    """
    if not faces:
        raise DataError("no face was found in it in any orientation")
    large = [face for face in faces if face.eyes_px >= least_eyes_px]
    if not large:
        raise DataError(
            f"its largest face has {faces[0].eyes_px:.1f} pixels between the eyes, fewer than "
            f"the minimum of {least_eyes_px:g}"
        )
    return large
