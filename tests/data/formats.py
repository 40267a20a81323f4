"""Write one training set in every format of the mirrors, with the formats' own libraries."""

import io
import pickle
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.data.making import write_pack


def pack(root: Path, images: Sequence[bytes], labels: Sequence[int]) -> Path:
    return write_pack(root / "pack", labels, images=images, size=32)


def shards(
    root: Path,
    images: Sequence[bytes],
    labels: Sequence[int],
    mode: str = "w",
    ending: str = ".tar",
) -> Path:
    """Two shards or three, in the order that only natural sorting gives: 9 before 10."""
    folder = root / f"shards{ending}"
    folder.mkdir(parents=True)
    each = -(-len(images) // 3)
    for k in range(3):
        with tarfile.open(folder / f"part-{8 + k}{ending}", mode) as tar:
            for row in range(k * each, min((k + 1) * each, len(images))):
                for name, content in (
                    (f"{row:05d}.cls", b"%d" % labels[row]),
                    (f"{row:05d}.jpg", images[row]),
                ):
                    about = tarfile.TarInfo(name)
                    about.size = len(content)
                    tar.addfile(about, io.BytesIO(content))
    return folder


def gz_shards(root: Path, images: Sequence[bytes], labels: Sequence[int]) -> Path:
    return shards(root, images, labels, "w:gz", ".tar.gz")


def parquet(root: Path, images: Sequence[bytes], labels: Sequence[int]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet as files

    folder = root / "parquet"
    (folder / "data").mkdir(parents=True)
    half = len(images) // 2
    for k, rows in enumerate((range(half), range(half, len(images)))):
        column = [{"bytes": images[row], "path": f"{row}.jpg"} for row in rows]
        table = pa.table({"image": column, "label": [labels[row] for row in rows]})
        files.write_table(table, folder / f"data/train-{k:05d}-of-00002.parquet", row_group_size=7)
    return folder


def lmdb_counted(root: Path, images: Sequence[bytes], labels: Sequence[int]) -> Path:
    import lmdb

    folder = root / "lmdb_counted"
    folder.mkdir(parents=True)
    with (
        lmdb.open(str(folder), map_size=1 << 24) as environment,
        environment.begin(write=True) as into,
    ):
        into.put(b"num-samples", b"%d" % len(images))
        for k, (image, label) in enumerate(zip(images, labels, strict=True), start=1):
            into.put(b"image-%09d" % k, image)
            into.put(b"label-%09d" % k, b"%d" % label)
    return folder


def lmdb_pickled(root: Path, images: Sequence[bytes], labels: Sequence[int]) -> Path:
    import lmdb

    folder = root / "lmdb_pickled"
    folder.mkdir(parents=True)
    keys = [b"%d" % k for k in range(len(images))]
    with (
        lmdb.open(str(folder), map_size=1 << 24) as environment,
        environment.begin(write=True) as into,
    ):
        for key, image, label in zip(keys, images, labels, strict=True):
            into.put(key, pickle.dumps((image, int(label))))
        into.put(b"__keys__", pickle.dumps(keys))
        into.put(b"__len__", pickle.dumps(len(keys)))
    return folder


def folders(root: Path, images: Sequence[bytes], labels: Sequence[int]) -> Path:
    folder = root / "folders"
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / f"person{label}").mkdir(parents=True, exist_ok=True)
        (folder / f"person{label}/{row}.jpg").write_bytes(image)
    return folder


Write = Callable[[Path, Sequence[bytes], Sequence[int]], Path]
ALL: dict[str, Write] = {
    "pack": pack,
    "shards": shards,
    "gz shards": gz_shards,
    "parquet": parquet,
    "lmdb counted": lmdb_counted,
    "lmdb pickled": lmdb_pickled,
    "folders": folders,
}
