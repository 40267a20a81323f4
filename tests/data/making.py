"""Small data in the true formats, for the tests of `cdmllab.data`."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cdmllab.data import records
from cdmllab.data.recordio import frame


def pixels(seed: int, size: int | tuple[int, int] = 16, channels: int = 3) -> np.ndarray:
    """A smooth random image, uint8 (height, width, channels)."""
    height, width = (size, size) if isinstance(size, int) else size
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [
        np.sin(rng.uniform(2, 9) * x + rng.uniform(2, 9) * y + rng.uniform(0, 6))
        for _ in range(channels)
    ]
    return np.round(127.5 + 127.5 * np.stack(waves, -1)).astype(np.uint8)


def jpeg(
    seed: int, size: int | tuple[int, int] = 16, mode: str = "RGB", **options: object
) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels(seed, size)).convert(mode).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def folder(
    root: Path, people: Sequence[int] = (3, 2, 4), size: int = 16, suffix: str = ".jpg"
) -> Path:
    """Identity folders ``p0/0.jpg`` ..; `people` counts the images of each."""
    for person, count in enumerate(people):
        (root / f"p{person}").mkdir(parents=True)
        for k in range(count):
            image = Image.fromarray(pixels(100 * person + k, size))
            image.save(root / f"p{person}" / f"{k}{suffix}", quality=95)
    return root


def write_pack(
    root: Path,
    labels: Sequence[object] = (0, 0, 1, 1, 1, 2),
    *,
    header: bool = True,
    index: bool = True,
    size: int = 16,
    images: Sequence[bytes] | None = None,
) -> Path:
    """A pack written with nothing but `frame` and `records.pack`, as the format is described."""
    root.mkdir(parents=True, exist_ok=True)
    images = images or [jpeg(k, size) for k in range(len(labels))]
    numbers = [label[0] if isinstance(label, (list, tuple)) else label for label in labels]
    payloads = [records.pack(label, image) for label, image in zip(labels, images, strict=True)]
    count = len(labels)
    if header:
        identities = int(np.nanmax(numbers)) + 1
        ranges = []
        for identity in range(identities):
            rows = [k for k, number in enumerate(numbers) if number == identity]
            ranges.append(records.pack([rows[0] + 1.0, rows[-1] + 2.0] if rows else [0.0, 0.0]))
        payloads = [records.pack([count + 1.0, count + 1.0 + identities]), *payloads, *ranges]
    offsets, data = [], b""
    for payload in payloads:
        offsets.append(len(data))
        data += frame(payload)
    (root / "train.rec").write_bytes(data)
    if index:
        (root / "train.idx").write_text(
            "".join(f"{k}\t{offset}\n" for k, offset in enumerate(offsets))
        )
    (root / "property").write_text(f"{max(int(np.nanmax(numbers)), 0) + 1},{size},{size}")
    return root
