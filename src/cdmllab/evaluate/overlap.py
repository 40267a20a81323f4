"""Find people and images that a protocol shares with a training set, and their effect.

Shared people are found by name, if both sides have names. Near-duplicate images are found by a
perceptual hash of each image and of its mirror image. If a network is given, the pairs that the
hash suggests are confirmed by the cosine of their embeddings.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from cdmllab import preprocessing
from cdmllab.data import perceptual
from cdmllab.data.crop import resize
from cdmllab.data.sets import TrainingSet
from cdmllab.evaluate.embedding import Images, embed
from cdmllab.evaluate.npz import InMemory
from cdmllab.evaluate.protocol import Protocol
from cdmllab.metrics import scoring, verification

# Bits of 256 in which hashes may differ if no network confirms them. In a world of the face lab, 36
# bits find 96 of 100 altered copies (another quality, size or brightness, mirrored, cropped by a
# pixel) and wrongly 1 of 240 images of strangers; 40 bits find 99 and wrongly 4.
ALONE_BITS = 36
WIDE_BITS = 64  # if a network confirms them
COSINE = 0.8  # the lowest cosine that confirms a pair
_BATCH = 512
Progress = Callable[[int, int], None]


class Overlap(NamedTuple):
    """What a training set and a protocol share.

    Attributes
    ----------
    people : shared names, in the protocol's spelling
    trained, judged : rows of near-duplicates, in the training set and in the protocol; shapes (m,)
    bits : number of bits in which their hashes differ, shape (m,)
    cosines : of their embeddings, shape (m,); None without a network
    touched : whether each image of the protocol is a duplicate or shows a shared person; shape (n,)
    accuracy : over folds, on all pairs, on those without a touched image and on the rest, with the
        numbers of pairs; None without a network
    """

    people: tuple[str, ...]
    trained: NDArray[np.int64]
    judged: NDArray[np.int64]
    bits: NDArray[np.int64]
    cosines: NDArray[np.float64] | None
    touched: NDArray[np.bool_]
    accuracy: Mapping[str, float] | None

    def record(self) -> dict[str, Any]:
        """The overlap as plain values for JSON."""
        return {
            "people": list(self.people),
            "duplicates": [
                {"trained_row": int(t), "protocol_row": int(j), "bits": int(b)}
                | ({} if self.cosines is None else {"cosine": round(float(self.cosines[k]), 4)})
                for k, (t, j, b) in enumerate(
                    zip(self.trained, self.judged, self.bits, strict=True)
                )
            ],
            "images_touched": int(self.touched.sum()),
            "images": len(self.touched),
            "accuracy": None if self.accuracy is None else dict(self.accuracy),
        }


def find(
    source: TrainingSet,
    protocol: Protocol,
    *,
    names: Sequence[str] = (),
    backbone: nn.Module | None = None,
    prepare: Mapping[str, Any] | None = None,
    bits: int | None = None,
    cosine: float = COSINE,
    progress: Progress | None = None,
) -> Overlap:
    """Compare every image of a training set with every image of a protocol.

    Parameters
    ----------
    names : of the training set's people
    backbone, prepare : a network and its preprocessing, to confirm duplicates and to measure
        accuracies
    bits : number of bits, of 256, in which the hashes of duplicates may differ
    cosine : the lowest cosine that confirms a duplicate
    progress : called with the number of images hashed and the total

    Raises
    ------
    ValueError : the protocol has a tensor instead of uint8 images
    """
    if not hasattr(protocol.images, "read"):
        raise ValueError(
            f"duplicates cannot be found in {protocol.name}: its images are a tensor, not uint8"
        )
    judged_images: Images = protocol.images
    # With a network that confirms, the hash may suggest more.
    allowed = bits if bits is not None else ALONE_BITS if backbone is None else WIDE_BITS
    total = len(source) + len(judged_images)
    # Hash the protocol's images plain and mirrored; plain hashes suffice
    # for the training set, as a mirrored copy on either side is then found.
    ours = _hashed(judged_images, total, 0, progress)
    theirs = _hashed(source, total, len(judged_images), progress)[0]
    parts = [perceptual.near(theirs, one, allowed) for one in ours]
    # A pair may be found both ways: keep the better one.
    pairs = _once(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    cosines = None
    # Drop the suggestions that the embeddings do not confirm.
    if backbone is not None:
        use = partial(preprocessing.apply, preprocessing=preprocessing.check(prepare or {}))
        cosines = _cosines(source, judged_images, pairs, backbone, use)
        confirmed = cosines >= cosine
        pairs = perceptual.Near(*(values[confirmed] for values in pairs))
        cosines = cosines[confirmed]
    # Touched: an image of a shared person, or a near-duplicate of a training image.
    shared, touched = _people(protocol, names)
    touched[pairs.second] = True
    accuracy = None if backbone is None else _accuracy(protocol, touched, backbone, use)
    return Overlap(shared, pairs.first, pairs.second, pairs.bits, cosines, touched, accuracy)


def plain_name(name: str) -> str:
    """Normalise a name that data sets spell differently: ``José_W_Alba``, ``jose w. alba``.

    Accents are dropped, and letters of all scripts are kept. A name without letters is empty.
    """
    # Decomposed, an accented letter is the plain one and an accent.
    letters = [c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)]
    # Any run of other characters becomes one space, such as underscores, dots and hyphens.
    return " ".join(re.sub(r"[\W_]+", " ", "".join(letters).casefold()).split())


def _hashed(
    images: Images | TrainingSet, total: int, before: int, progress: Progress | None
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Hash all images and their mirror images."""
    plain, mirrored = [], []
    for start in range(0, len(images), _BATCH):
        some = images.read(np.arange(start, min(start + _BATCH, len(images))))
        plain.append(perceptual.hashes(some))
        mirrored.append(perceptual.hashes(some[:, :, ::-1]))
        if progress is not None:
            progress(before + start + len(some), total)
    return np.concatenate(plain), np.concatenate(mirrored)


def _once(
    first: NDArray[np.int64], second: NDArray[np.int64], bits: NDArray[np.int64]
) -> perceptual.Near:
    """Sort the pairs and keep each once, with its fewest bits."""
    order = np.lexsort((bits, second, first))
    first, second, bits = first[order], second[order], bits[order]
    new = np.ones(len(first), dtype=bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return perceptual.Near(first[new], second[new], bits[new])


def _cosines(
    source: TrainingSet, images: Images, pairs: perceptual.Near, backbone: nn.Module, use: Any
) -> NDArray[np.float64]:
    """Cosines of the suggested pairs: the larger of the image's and its mirror image's."""
    if len(pairs.first) == 0:
        return np.zeros(0)
    size = getattr(backbone, "size", None)
    # Embed each image once, however many pairs it is in; `left` and `right` index the unique rows.
    rows, left = np.unique(pairs.first, return_inverse=True)
    others, right = np.unique(pairs.second, return_inverse=True)
    trained = _embedded(source.read(rows), backbone, use, size)
    candidates = images.read(others)
    both = [
        _embedded(x, backbone, use, size)
        for x in (candidates, np.ascontiguousarray(candidates[:, :, ::-1]))
    ]
    plain, mirrored = ((trained[left] * one[right]).sum(axis=1) for one in both)
    larger: NDArray[np.float64] = np.maximum(plain, mirrored)
    return larger


def _embedded(
    images: NDArray[np.uint8], backbone: nn.Module, use: Any, size: int | None
) -> NDArray[np.float64]:
    if size is not None and images.shape[1:3] != (size, size):
        images = np.stack([resize(image, size, size) for image in images])
    embeddings = embed(backbone, InMemory(images), prepare=use).double().numpy()
    unit: NDArray[np.float64] = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit


def _people(protocol: Protocol, names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
    """The shared names, and whether each image of the protocol shows one of these people."""
    touched = np.zeros(len(protocol.images), dtype=bool)
    if protocol.identity is None or not protocol.names or not names:
        return (), touched
    known = {plain_name(name) for name in names} - {""}
    shared = [k for k, name in enumerate(protocol.names) if plain_name(name) in known]
    touched |= np.isin(protocol.identity, shared)
    # Of the shared people, name only those with an image in the protocol.
    in_images = set(protocol.identity[touched].tolist())
    return tuple(protocol.names[k] for k in shared if k in in_images), touched


def _accuracy(
    protocol: Protocol, touched: NDArray[np.bool_], backbone: nn.Module, use: Any
) -> Mapping[str, float] | None:
    """Accuracy on all pairs, on those without a touched image, and on the rest."""
    if protocol.templates is not None:
        return None
    pairs = protocol.pairs
    embeddings = embed(backbone, protocol.images, flip=protocol.mirror, prepare=use).numpy()
    scores = scoring.cosines(embeddings, pairs.first, pairs.second)
    clean = ~(touched[pairs.first] | touched[pairs.second])
    values = {"pairs": float(len(clean)), "pairs_without": float(clean.sum())}
    # Without folds that have both kinds of pairs, there is no accuracy for this part.
    for name, some in (
        ("all", np.ones(len(clean), dtype=bool)),
        ("without", clean),
        ("only", ~clean),
    ):
        same, fold = pairs.same[some], pairs.fold[some]
        enough = all(same[fold == f].any() and (~same[fold == f]).any() for f in np.unique(fold))
        if len(np.unique(fold)) > 1 and enough:
            values[name] = verification.fold_accuracy(scores[some], same, fold).mean
    return values
