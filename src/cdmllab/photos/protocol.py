"""Create a verification protocol from a folder of photos, in the three formats of common code.

All three contain the same pairs of the same pixels: every image is encoded once, as JPEG, and the
arrays are the decoded JPEGs.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdmllab._util.files import replacing, write_text
from cdmllab.data import bins
from cdmllab.data.crop import resize
from cdmllab.data.decode import decode, encode_jpeg
from cdmllab.data.orientation import UPRIGHT, of_jpeg
from cdmllab.data.pairs import Pairs
from cdmllab.errors import CdmlLabError, DataError
from cdmllab.evaluate.cropping import Cropped
from cdmllab.evaluate.embedding import Images
from cdmllab.photos import finding
from cdmllab.photos.album import Network, bytes_of, nothing_usable, pixels_of, usable
from cdmllab.photos.faces import Detector
from cdmllab.photos.listing import Photo, Photos, refuse_content
from cdmllab.photos.pairing import Rules, draw

MOST = 20_000  # photos; their aligned faces wait in memory
NPZ, BIN, LIST, IMAGES = "protocol.npz", "protocol.bin", "pairs.txt", "images"
_QUALITY = 95
_AT_A_TIME = 256  # images that are decoded for the network


class Made(NamedTuple):
    """A drawn protocol."""

    pairs: Pairs  # of rows of `jpeg`
    jpeg: list[bytes]  # [n] the images that the pairs use
    label: NDArray[np.int64]  # [n]
    people: tuple[str, ...]
    missing: dict[str, str]  # photo -> why it is not used


def make(
    source: Photos,
    rules: Rules,
    *,
    size: int = 112,
    detector: Detector | None = None,
    network: Network | None = None,
    least_eyes_px: float = finding.FEWEST_EYES_PX,
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Draw a protocol from a folder of people.

    Parameters
    ----------
    source : photos, one folder per person
    rules : how pairs are drawn; hard impostors need a network
    size : of the images in pixels, if a detector aligns them
    detector : finds the faces, which are then aligned; None if the photos are aligned faces
    network : chooses the hard impostors

    Raises
    ------
    CdmlLabError : the people are unknown; images that are not square or differ in size, without a
        detector; too few people or images
    """
    if not source.people:
        raise CdmlLabError(
            f"{source.root} needs one folder per person, since a protocol needs the people"
        )
    if len(source.photos) > MOST:
        raise CdmlLabError(
            f"{source.root} contains {len(source.photos):,} photos; the limit is {MOST:,}: "
            f"draw some of the people with --sample {MOST}"
        )
    if not 0.0 <= rules.hard <= 1.0:
        raise CdmlLabError(f"the share of hard impostors must lie in [0, 1], got {rules.hard:g}")
    if rules.hard > 0.0 and network is None:
        raise CdmlLabError("hard impostors are chosen by a network: --model names it")
    jpegs: list[bytes] = []
    labels: list[int] = []
    missing: dict[str, str] = {}
    shape: tuple[int, ...] = ()
    # Encode each photo, aligned or as it is; all must have the size of the first.
    for done, photo in enumerate(source.photos, start=1):
        try:
            if detector is None:
                jpeg, photo_shape = _as_it_is(photo)
                shape = shape or photo_shape
                _check_size(photo, photo_shape, shape)
            else:
                jpeg = _aligned(photo, detector, size, least_eyes_px)
        except DataError as error:
            missing[photo.name] = str(error)
        else:
            jpegs.append(jpeg)
            labels.append(photo.person)
        if progress is not None:
            progress(done, len(source.photos))
    if not jpegs:
        raise nothing_usable(source, missing, "can be used")
    label = np.array(labels, dtype=np.int64)
    # Draw the pairs, then keep only the images in them and renumber the rows.
    embeddings = _embeddings(jpegs, network) if rules.hard > 0.0 and network else None
    drawn = draw(label, rules, embeddings)
    used, rows = np.unique(np.stack([drawn.first, drawn.second]), return_inverse=True)
    first, second = rows.reshape(2, -1)
    return Made(
        Pairs(first, second, drawn.same, drawn.fold),
        [jpegs[row] for row in used.tolist()],
        label[used],
        source.people,
        missing,
    )


def write(made: Made, folder: Path) -> list[Path]:
    """Write the three formats into a new or empty folder; returns their files.

    ``protocol.npz`` is for `cdmllab evaluate` (with people, so intervals draw people);
    ``protocol.bin`` for code that reads InsightFace's bins; ``pairs.txt`` and ``images/`` for code
    that reads LFW.

    Raises
    ------
    CdmlLabError : the folder is not empty
    """
    refuse_content(folder, "the protocol")
    pairs, files = made.pairs, [folder / name for name in (NPZ, BIN, LIST)]
    # Decode what was encoded: all three formats then have the same pixels.
    pixels = np.stack(
        [decode(jpeg, f"image {k}", upright=False) for k, jpeg in enumerate(made.jpeg)]
    )
    with replacing(files[0]) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            images=pixels,
            first=pairs.first,
            second=pairs.second,
            same=pairs.same,
            fold=pairs.fold,
            identity=made.label,
        )
    # Both images of a pair, one after the other, as a bin has them.
    order = np.stack([pairs.first, pairs.second], axis=1).reshape(-1)
    bins.write(files[1], [made.jpeg[row] for row in order.tolist()], pairs.same)
    names, numbers = lfw_names(made.people), _numbers(made.label)
    for row, jpeg in enumerate(made.jpeg):
        name = names[made.label[row]]
        with replacing(folder / IMAGES / name / f"{name}_{numbers[row]:04d}.jpg") as temporary:
            temporary.write_bytes(jpeg)
    write_text(files[2], pair_list(made, names, numbers))
    return files


def pair_list(made: Made, names: list[str], numbers: NDArray[np.int64]) -> str:
    """LFW's ``pairs.txt``: folds and pairs of a kind, then ``name n m`` and ``name n name m``."""
    pairs = made.pairs
    folds = int(pairs.fold.max()) + 1
    lines = [f"{folds}\t{len(pairs.same) // (2 * folds)}"]
    for first, second, same in zip(pairs.first, pairs.second, pairs.same, strict=True):
        one = f"{names[made.label[first]]}\t{numbers[first]}"
        other = f"{numbers[second]}" if same else f"{names[made.label[second]]}\t{numbers[second]}"
        lines.append(f"{one}\t{other}")
    return "\n".join(lines) + "\n"


def lfw_names(people: tuple[str, ...]) -> list[str]:
    """Names for ``pairs.txt``, whose readers split at white space and take names for folders.

    Different people keep different names.
    """
    taken: set[str] = set()
    names = []
    for person in people:
        # Keep letters, digits, underscores, dots and hyphens; anything else becomes an underscore.
        plain = re.sub(r"[^\w.-]+", "_", person).strip("._") or "person"
        name, number = plain, 2
        while name.casefold() in taken:  # file systems may ignore case
            name, number = f"{plain}_{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def _numbers(label: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of each image among those of its person, from 1."""
    seen: dict[int, int] = {}
    numbers = []
    for person in label.tolist():
        seen[person] = seen.get(person, 0) + 1
        numbers.append(seen[person])
    return np.array(numbers, dtype=np.int64)


def _as_it_is(photo: Photo) -> tuple[bytes, tuple[int, ...]]:
    """An aligned face as JPEG, in its original bytes if possible, and its size."""
    data = bytes_of(photo)
    pixels = decode(data, photo.name)
    # An upright JPEG keeps its bytes; encoding it again would change its pixels.
    plain = data[:3] == b"\xff\xd8\xff" and of_jpeg(data) == UPRIGHT
    return (data if plain else encode_jpeg(pixels, _QUALITY)), pixels.shape[:2]


def _check_size(photo: Photo, size: tuple[int, ...], first: tuple[int, ...]) -> None:
    height, width = size
    if height != width or size != first:
        others = "" if size == first else f", others are {first[1]} x {first[0]}"
        raise CdmlLabError(
            f"{photo.name} is {width} x {height} pixels{others}: a protocol needs aligned "
            "faces, square and of one size; --align finds and aligns them"
        )


def _aligned(photo: Photo, detector: Detector, size: int, least_eyes_px: float) -> bytes:
    pixels = pixels_of(photo)
    face = usable(finding.look(pixels, detector).faces, least_eyes_px)[0]
    return encode_jpeg(finding.cut_out(pixels, face, size), _QUALITY)


class _Encoded:
    """JPEGs as `cdmllab.evaluate.embedding.Images`, scaled to a size or unscaled."""

    def __init__(self, jpegs: list[bytes], size: int | None) -> None:
        self._jpegs, self._size = jpegs, size

    def __len__(self) -> int:
        return len(self._jpegs)

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        pixels = [
            decode(self._jpegs[row], f"image {row}", upright=False)
            for row in np.asarray(rows).tolist()
        ]
        size = self._size
        return np.stack([x if size is None else resize(x, size, size) for x in pixels])


def _embeddings(jpegs: list[bytes], network: Network) -> NDArray[np.float32]:
    """Embeddings [n, d] of encoded aligned faces, at the size and crop of the network."""
    square, size = network.square, network.size
    images: Images = _Encoded(jpegs, size if square is None else None)
    if square is not None:
        images = Cropped(images, square, size)
    rows = np.arange(len(jpegs))
    parts = np.array_split(rows, -(-len(rows) // _AT_A_TIME))  # rounded up
    return np.concatenate([network.embed(images.read(part)) for part in parts])
