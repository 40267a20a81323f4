"""Every format of the mirrors gives the same images, the same labels and the same weights."""

import hashlib
import io
import os
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.data import formats, making

from cdmllab.data import parquet, webdataset
from cdmllab.data.decode import encode_jpeg
from cdmllab.data.opening import open_set
from cdmllab.errors import DataError
from cdmllab.faces import FaceWorld
from cdmllab.training import Config, train

LABELS = [k // 5 for k in range(60)]
RECIPE = {
    "name": "formats",
    "backbone": {"name": "small", "embedding_dim": 8, "size": 32, "width": 8},
    "loss": {"name": "arcface", "scale": 16.0, "margin_rad": 0.2},
    "epochs": 1,
    "batch_size": 12,
}


def need(name):
    for library in ("lmdb", "pyarrow"):
        if name.startswith(library[:4]) or (library == "pyarrow" and name == "parquet"):
            pytest.importorskip(library)


@pytest.fixture(scope="module")
def images():
    world = FaceWorld(12, 5, size=32)
    return [encode_jpeg(face) for face in world.read(np.arange(60))]


@pytest.mark.parametrize("name", formats.ALL)
def test_every_format_gives_the_same_images_and_labels(name, images, tmp_path):
    need(name)
    opened = open_set(formats.ALL[name](tmp_path, images, LABELS))
    assert opened.labels.tolist() == LABELS
    assert (opened.num_identities, len(opened)) == (12, 60)
    assert [bytes(opened.image(row)) for row in range(60)] == images
    rows = [59, 3, 3, 31]
    assert np.array_equal(
        opened.read(rows), open_set(formats.pack(tmp_path / "x", images, LABELS)).read(rows)
    )


@pytest.mark.parametrize("name", formats.ALL)
def test_files_of_a_mac_next_to_a_set_are_not_read(name, images, tmp_path):
    need(name)
    root = formats.ALL[name](tmp_path, images, LABELS)
    for file in [file for file in root.rglob("*") if file.is_file()]:
        (file.parent / f"._{file.name}").write_bytes(b"\0\5\x16\7")
    (root / "__MACOSX").mkdir()
    for ending in (".rec", ".tar", ".parquet", ".jpg"):
        (root / f"__MACOSX/other{ending}").write_bytes(b"\0\5\x16\7")
    opened = open_set(root)
    assert [bytes(opened.image(row)) for row in range(60)] == images
    assert opened.labels.tolist() == LABELS


def test_one_world_in_every_format_trains_to_the_same_weights(images, tmp_path):
    pytest.importorskip("lmdb")
    pytest.importorskip("pyarrow")
    digests = {}
    for name, write in formats.ALL.items():
        folder = write(tmp_path, images, LABELS)
        config = Config.parse(
            {**RECIPE, "data": {"name": "stored", "folder": str(folder), "augmentation": "flip"}}
        )
        weights = train(config, within=tmp_path / "runs").backbone.state_dict()
        digests[name] = hashlib.sha256(
            b"".join(t.numpy().tobytes() for t in weights.values())
        ).hexdigest()
    assert len(set(digests.values())) == 1, digests


@pytest.mark.parametrize("write", [formats.shards, formats.gz_shards])
def test_shards_are_indexed_once_and_again_after_a_change(write, images, tmp_path, monkeypatch):
    folder = write(tmp_path, images, LABELS)
    first = open_set(folder).read([7])
    looked = []
    whole = webdataset._samples
    monkeypatch.setattr(
        webdataset, "_samples", lambda tar, most: (looked.append(tar.name), whole(tar, most))[1]
    )
    assert np.array_equal(open_set(folder).read([7]), first)
    assert looked == []
    shard = sorted(folder.glob("part-9*"))[0]
    os.utime(shard, (time.time() + 9, time.time() + 9))
    open_set(folder)
    assert looked == ["part-9.tar"]


def test_more_shards_than_are_kept_open_can_be_read_by_many_threads(images, tmp_path, monkeypatch):
    """A descriptor that is closed while it is read from would give the image of another shard."""
    monkeypatch.setattr(webdataset, "_KEPT_OPEN", 1)
    opened = open_set(formats.shards(tmp_path, images, LABELS))
    rows = np.random.default_rng(0).permutation(np.tile(np.arange(60), 50))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(opened.image, rows)) == [images[row] for row in rows]
    with opened._opened(0) as first, opened._opened(1) as second, opened._opened(2) as third:
        assert len({first, second, third}) == 3
        os.fstat(first)  # still open


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"1.jpg": making.jpeg(1)}, r"sample 1 has no label \(\.cls\)"),
        ({"1.cls": b"3"}, "sample 1 has no image"),
        (
            {"1.jpg": making.jpeg(1), "1.cls": b"Anna"},
            "a label must be a whole number, got b'Anna'",
        ),
        ({"readme.txt": b"x"}, "contains no images with labels"),
    ],
)
def test_shard_with_an_incomplete_sample_is_named(members, sentence, tmp_path):
    write_tar(tmp_path / "a.tar", members)
    with pytest.raises(DataError, match=sentence):
        open_set(tmp_path / "a.tar")


def test_members_that_a_mac_adds_to_a_shard_are_not_read(tmp_path):
    members = {"1.jpg": making.jpeg(1), "1.cls": b"0", "._1.jpg": b"x", "._1.cls": b"x"}
    write_tar(tmp_path / "a.tar", members)
    opened = open_set(tmp_path / "a.tar")
    assert [bytes(opened.image(row)) for row in range(len(opened))] == [members["1.jpg"]]


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))


def test_damaged_shard_is_named_and_leaves_no_index(images, tmp_path):
    folder = formats.gz_shards(tmp_path, images, LABELS)
    shard = folder / "part-9.tar.gz"
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(DataError):
        open_set(folder)
    assert not list((folder / webdataset.INDEX).glob("part-9*"))


def test_parquet_without_its_columns_names_those_it_has(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    files.write_table(pa.table({"photo": [b"x"], "label": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has no column image or img or jpg; it has: photo, label"):
        open_set(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("end", "message"),
    [("SIGSEGV", "is so damaged that the reader"), ("SIGXCPU", "takes more than an hour")],
)
def test_lmdb_whose_check_is_ended_by_a_signal_says_why(tmp_path, monkeypatch, end, message):
    lmdb = pytest.importorskip("lmdb")
    lmdb.open(str(tmp_path / "set")).close()
    code = f"import os, signal; os.kill(os.getpid(), signal.{end})"
    monkeypatch.setattr("cdmllab.data.lmdb_sets._COMMAND", (sys.executable, "-c", code))
    with pytest.raises(DataError, match=message):
        open_set(tmp_path / "set")


def test_table_of_pairs_is_a_bin(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    faces = [making.jpeg(k) for k in range(40)]
    table = {"img1": faces[0::2], "img2": faces[1::2], "label": [k % 2 for k in range(20)]}
    files.write_table(pa.table(table), tmp_path / "pairs.parquet")
    loaded = parquet.pairs(tmp_path / "pairs.parquet")
    assert loaded.images == faces
    assert loaded.same.tolist() == [bool(k % 2) for k in range(20)]
    assert loaded.pairs().fold.tolist() == [k // 2 for k in range(20)]


def test_lmdb_of_another_layout_is_refused(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    with (
        lmdb.open(str(tmp_path / "other"), map_size=1 << 20) as environment,
        environment.begin(write=True) as into,
    ):
        into.put(b"a", b"b")
    with pytest.raises(DataError, match="has neither num-samples nor __keys__"):
        open_set(tmp_path / "other")


def test_file_that_is_not_a_training_set_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"a\.txt is not a training set"):
        open_set(tmp_path / "a.txt")
    with pytest.raises(DataError, match="does not exist"):
        open_set(tmp_path / "gone")
