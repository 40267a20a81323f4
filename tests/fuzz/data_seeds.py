"""Seeds for fuzzing the readers of data sets: small valid files, and crafted invalid ones."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat
from tests.fuzz.seeds import Files, arrays

from cdmllab.data import records
from cdmllab.data.recordio import MAGIC, frame

_SIDE = 24


def _pixels(seed: int, side: int = _SIDE) -> np.ndarray:
    return (
        np.random.default_rng(seed)
        .integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
        .repeat(4, 0)
        .repeat(4, 1)
    )


def image(
    kind: str = "JPEG", mode: str = "RGB", seed: int = 0, side: int = _SIDE, **options: Any
) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(_pixels(seed, side)).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def _often(jpeg: bytes, scans: int) -> bytes:
    """A JPEG whose last scan is repeated many times."""
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * scans + jpeg[-2:]


def _png_of(width: int, height: int) -> bytes:
    good = image("PNG")
    at = good.index(b"IHDR") + 4
    return good[:at] + struct.pack(">II", width, height) + good[at + 8 :]


def images() -> list[Files]:
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = [
        image(exif=exif),
        image(progressive=True),
        image(mode="L"),
        image(mode="CMYK"),
        *(image("PNG", mode) for mode in ("RGB", "RGBA", "P", "LA", "1", "I;16")),
        *(image("TIFF", mode) for mode in ("RGB", "I;16", "F", "L")),
        *(image("TIFF", compression=how) for how in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        *(image(kind) for kind in ("BMP", "WEBP", "PPM", "JPEG2000", "AVIF")),
        image("GIF", "P", save_all=True, append_images=[Image.fromarray(_pixels(1)).convert("P")]),
        image("MPO", save_all=True, append_images=[Image.fromarray(_pixels(1))]),
        _often(image(progressive=True), 400),
        _png_of(60_000, 60_000),
        _png_of(7_000, 7_000),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n",
        b"P3\n7000 7000\n255\n" + b"1 " * 1000,
        b"",
    ]
    return [{"x.jpg": content} for content in contents]


def bins() -> list[Files]:
    jpegs = [image(seed=k, side=8) for k in range(4)]
    rows = [np.frombuffer(jpeg, np.uint8) for jpeg in jpegs]
    flags = [np.bool_(True), np.bool_(False)]
    text = b"".join(b"T" + struct.pack("<i", len(jpeg)) + jpeg for jpeg in jpegs)
    good = [
        *(pickle.dumps((jpegs, [True, False]), protocol) for protocol in range(6)),
        *(pickle.dumps((rows, flags), protocol) for protocol in (0, 2, 4, 5)),
        pickle.dumps(([row.copy() for row in rows], np.array([True, False])), 5),
        pickle.dumps(([_pixels(k) for k in range(4)], [1, 0]), 4),
        b"\x80\x02](" + text + b"e](\x88\x89e\x86.",  # of Python 2
    ]
    twice = b"\x94h\x00h\x00\x86"
    bad = [
        b"\x80\x04}N" + twice * 60 + b"K\x01s.",
        b"\x80\x04" + b"(" * 60 + b"K\x01\x91" * 60 + b".",
        b"\x80\x04N" + b"\x85" * 50_000 + b".",
        b"\x80\x04" + b"]" * 50_000 + b"a" * 49_999 + b".",
        b"\x80\x04\x96" + struct.pack("<Q", 8 << 30) + b"x.",
        b"\x80\x04(N" + twice * 60 + b"lN\x86.",
        b"I" + b"9" * 5000 + b"\n.",
        b"cnumpy\ndtype\n(U\x08(1,,2)f4K\x00K\x01tR.",
        b"cos\nsystem\n(S'true'\ntR.",
        pickle.dumps(([image(side=4000, quality=1)] * 10_000, [True] * 5000)),
    ]
    files = [{"x.bin": content} for content in (*good, *bad)]
    length = np.array([len(jpeg) for jpeg in jpegs])
    plain = {"jpeg": np.concatenate(rows), "length": length, "same": np.array([True, False])}
    for change in (
        {},
        {"length": np.array([2**62] * 4)},
        {"jpeg": plain["jpeg"].astype(float)},
        {"same": np.eye(2)},
    ):
        files.append({"x.npz": arrays(**plain | change)})
    return files


def _pack(labels: list[float], *, header: bool = True, index: bool = True) -> Files:
    images = [records.pack(label, image(seed=k, side=8)) for k, label in enumerate(labels)]
    count, people = len(labels), int(max(labels)) + 1
    if header:
        first = records.pack([count + 1.0, count + 1.0 + people])
        images = [first, *images, *(records.pack([k + 1.0, k + 2.0]) for k in range(people))]
    data, lines = b"", ""
    for key, payload in enumerate(images):
        lines += f"{key}\t{len(data)}\n"
        data += frame(payload)
    files = {"p/train.rec": data, "p/property": f"{people},8,8\n{count}\n".encode()}
    return files | ({"p/train.idx": lines.encode()} if index else {})


def packs() -> list[Files]:
    good = _pack([0, 1, 2])
    bare = _pack([0, 1, 1], header=False)
    report = {"p/report.json": b'{"skipped": {}, "left_out": {}}', "p/train.crc": bytes(28)}
    long = records.pack([3.0, 3.0 + 2**22])
    return [
        good,
        _pack([0, 0, 1], index=False),
        bare,
        good | report,
        bare | {"p/property": b"1000000000000,112,112"},
        bare | {"p/property": b"9" * 5000 + b",112,112"},
        bare | {"p/property": "\u00b2,8,8\n\u00b2".encode()},
        {"p/train.rec": frame(long) + frame(records.pack(0.0, image()))},
        {"p/train.rec": frame(records.pack([1e38, 1e38]))},
        {
            "p/train.rec": struct.pack("<II", MAGIC, 1 << 29)
            + struct.pack("<II", MAGIC, 2 << 29) * 150_000
        },
        {"p/train.rec": struct.pack("<II", MAGIC, 0) * 1000},
        good | {"p/train.idx": b"9" * 5000 + b"\t0\n"},
        good | {"p/train.idx": b"0\n" * 8},
        good | {"p/report.json": b'{"skipped": 3, "left_out": null}'},
        {"p/a/1.jpg": image(), "p/b/2.jpg": image("PNG"), "p/b/\udc80.jpg": b"x"},
        {"p/a\nb/1.jpg": image(), "p/b/x.txt": b"x"},
    ]


def _tar(*members: tuple[str, bytes, dict[str, Any]]) -> bytes:
    data = b""
    for name, content, about in members:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        for key, value in about.items():
            setattr(member, key, value)
        data += member.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)
    return data + bytes(1024)


def _zip(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def archives() -> list[Files]:
    plain = _tar(
        ("a", b"", {"type": tarfile.DIRTYPE}), ("a/1.jpg", image(), {}), ("b" * 150, b"b", {})
    )
    valid = _zip(("a/", b""), ("a/1.jpg", image()), ("b.txt", b"text"))
    link = {"type": tarfile.SYMTYPE, "linkname": "/etc"}
    bad = [
        *(_tar((name, b"x", {})) for name in (".", "../x", "/x", "a/../../x", "a\nb")),
        _tar(("x", b"", {"type": tarfile.GNUTYPE_LONGNAME, "size": 1 << 40})),
        _tar(("x", b"", {"type": tarfile.XHDTYPE, "size": 1 << 40})),
        _tar(("x", b"", {"size": 1 << 50})),
        _tar(("x", b"", {"size": -512}), ("y", b"y", {})),
        _tar(("x", b"", {"type": tarfile.DIRTYPE, "size": -1024})) * 3,
        _tar(("x", b"1", {}), ("x", b"2", {})),
        _tar(("x", b"", link), ("x/y", b"2", {})),
        _tar(("x", b"", {"type": tarfile.GNUTYPE_SPARSE, "size": 512})),
        _zip(("x", b"1"), ("x", b"2")),
        _zip(("x", b"1"), ("x/y", b"2")),
        _zip(("a/" * 2000 + "x", b"x")),
        _zip((".", b"x")),
        _zip(("x", bytes(300 << 20))),
        lzma.compress(plain, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 3 << 29}]),
    ]
    good = [plain, gzip.compress(plain), bz2.compress(plain), lzma.compress(plain), valid]
    return [{"x.zip": content} for content in (*good, *bad)]


def shards() -> list[Files]:
    """WebDataset: each sample an image and its label."""

    def shard(*samples: tuple[str, bytes, bytes]) -> bytes:
        return _tar(*((f"{key}.{end}", content, {}) for key, image, label in samples
                      for end, content in (("jpg", image), ("cls", label))))  # fmt: skip

    good = shard(("000", image(), b"0"), ("001", image(seed=1), b"1"))
    bad = [
        shard(("000", image(), b"9" * 5000)),
        shard(("000", image(), b"9" * 18)),
        shard(("000", image(), "\u00b2".encode())),
        shard(("000", image(), b"-1")),
        _tar(("a.jpg", image(), {})),
        _tar(("a.cls", b"0", {})),
        _tar(("a.jpg", b"", {"size": 1 << 50}), ("a.cls", b"0", {})),
        _tar(("a.jpg", b"", {"size": -512}), ("a.cls", b"0", {})),
        _tar(("x", b"", {"type": tarfile.GNUTYPE_LONGNAME, "size": 1 << 40})),
        _tar(("x", b"", {"type": tarfile.XHDTYPE, "size": 1 << 40})),
    ]
    plain = [{"set/0.tar": content} for content in (good, *bad)]
    return [*plain, {"set/0.tar": good, "set/1.tar": good}, {"set/0.tar.gz": gzip.compress(good)},
            {"set/0.tgz": gzip.compress(bytes(600 << 20), 9)}]  # fmt: skip


def _parquet(columns: dict[str, list[Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream, row_group_size=2)
    return stream.getvalue()


def _stored(count: int) -> list[dict[str, Any]]:
    return [{"bytes": image(seed=k), "path": f"{k}.jpg"} for k in range(count)]


def parquet_sets() -> list[Files]:
    good = {"image": _stored(3), "label": [0, 1, 1]}
    tables = [
        good,
        good | {"label": ["a", "b", "b"]},
        good | {"label": [0, None, 1]},
        good | {"label": [0, -1, 2**62]},
        good | {"label": [0.5, 1.0, 2.0]},
        good | {"image": [None, None, None]},
        {"image": _stored(3)},
        {"image": [], "label": []},
    ]
    return [{"set/0.parquet": _parquet(table)} for table in tables]


def parquet_pairs() -> list[Files]:
    good = {"image1": _stored(2), "image2": _stored(2), "label": [True, False]}
    return [
        {"x.parquet": _parquet(table)}
        for table in (good, good | {"label": [None, 3]}, {"image1": _stored(2)})
    ]


def lmdbs() -> list[Files]:
    """LMDB environments in both layouts."""
    import lmdb

    def environment(entries: dict[bytes, bytes]) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            with (
                lmdb.open(folder, map_size=1 << 20) as written,
                written.begin(write=True) as transaction,
            ):
                for key, value in entries.items():
                    transaction.put(key, value)
            return (Path(folder) / "data.mdb").read_bytes()

    counted = {b"num-samples": b"2"}
    for k in (1, 2):
        counted |= {b"image-%09d" % k: image(seed=k), b"label-%09d" % k: b"%d" % (k - 1)}
    listed = {b"__len__": pickle.dumps(2), b"__keys__": pickle.dumps([b"a", b"b"])}
    listed |= {key: pickle.dumps((image(seed=k), k)) for k, key in enumerate((b"a", b"b"))}
    bad = [
        counted | {b"num-samples": b"9" * 18},
        counted | {b"label-000000001": b"9" * 18},
        listed | {b"__keys__": pickle.dumps(3)},
        listed | {b"a": pickle.dumps(b"x")},
        {b"other": b"x"},
    ]
    return [{"set/data.mdb": environment(entries)} for entries in (counted, listed, *bad)]


_DIGITS = "9" * 5000


def _texts(*good: str) -> list[Files]:
    bad = (
        f"10\t{_DIGITS}\n",
        "\u00b2\t\u00b3\n",
        "../../../etc/passwd 1\n../x 1\n",
        "/dev/zero 1 1\n",
        "a\x00 1 1\n",
    )
    return [{"x.txt": text.encode()} for text in (*good, *bad)] + [
        {"x.txt": b"\xff\xfe 1 1\n"},
        {"x.txt": b""},
    ]


def pair_texts() -> list[Files]:
    lfw = "2\t1\nA\t1\t2\nA\t3\tC\t2\nC\t1\t2\nC\t1\tD\t1\n"
    kaggle = "name,imagenum1,imagenum2,\n" + "".join(f"A{k},1,2,\nA{k},1,B,1\n" for k in range(10))
    table = "fold_id,is_same,image_a,image_b\n" + "".join(
        f"{k},{same},A_0001.jpg,B_000{same}.jpg\n" for k in (1, 2) for same in (1, 0)
    )
    return _texts(lfw, kaggle, table)


def calfw() -> list[Files]:
    with_folds = "".join(f"A_{k}.jpg {k // 2 + 1}\n" for k in range(20)) + "".join(
        f"B_{k}.jpg 0\n" for k in range(20)
    )
    return _texts(with_folds, "".join(f"A_{k}.jpg {k // 20}\n" for k in range(40)))


def cfp() -> list[Files]:
    good = {
        f"Pair_list_{which}.txt": f"1 ../a/{which}1.jpg\n2 ../a/{which}2.jpg\n".encode()
        for which in "FP"
    }
    for fold in ("01", "02"):
        good |= {f"Split/FP/{fold}/{which}.txt": b"1,2\n2,1\n" for which in ("same", "diff")}
    changes = (
        b"1 /etc/passwd\n2 ../../x\n",
        f"{_DIGITS} a.jpg\n".encode(),
        "\u00b2 a.jpg\n".encode(),
    )
    return [good, *(good | {"Pair_list_F.txt": change} for change in changes)]


def landmarks() -> list[Files]:
    row = " 30 40 80 42 55 62 36 85 76 86\n"
    return _texts(
        f"a/1.jpg{row}",
        f'"a b.jpg"{row}b.jpg\t{row.strip()} 0.9\n',
        f"a\nb.jpg{row}",
        f"a {_DIGITS}{row}",
    )


def ijb() -> list[Files]:
    good = {
        "meta/ijbb_face_tid_mid.txt": b"1.jpg 1 1\n2.jpg 2 2\n",
        "meta/ijbb_name_5pts_score.txt": b"".join(
            b"%d.jpg 30 40 80 42 55 62 36 85 76 86 1\n" % k for k in (1, 2)
        ),
        "meta/ijbb_template_pair_label.txt": b"1 2 0\n1 1 1\n",
    }
    media = "meta/ijbb_face_tid_mid.txt"
    changes = (
        b"../x.jpg 1 1\n2.jpg 2 2\n",
        b"1.jpg 1e300 1\n2.jpg 0.5 2\n",
        b"\xff 1 1\n",
        f"1.jpg {_DIGITS} 1\n".encode(),
    )
    return [good, *(good | {media: change} for change in changes)]


def metrics() -> list[Files]:
    lines = "".join(f'{{"step": {k}, "loss": 0.5}}\n' for k in range(4)).encode()
    bad = (
        b"[]\n{}\n",
        b"3\n{}\n",
        b"\xff\n{}\n",
        b'{"step": "x"}\n{}\n',
        b"[" * 5000 + b"\n{}\n",
        b'{"step": 1',
    )
    return [{"metrics.jsonl": content} for content in (lines, *bad)]


def folds() -> list[Files]:
    values: list[Any] = [{"0": [0, 1]}, 3, {"0": [10**30]}, {"0": "x"}, {}]
    return [{"folds.json": json.dumps({"identities_in_pairs": value}).encode()} for value in values]


def journals_of_packing() -> list[Files]:
    good = [
        {"file": "a", "identity": "p", "offset": 44, "end": 88, "crc": 7},
        {"file": "b", "skipped": "why", "end": 88},
    ]
    bad: list[Any] = [
        [],
        3,
        {"file": "a"},
        good[0] | {"offset": 2**70},
        good[0] | {"end": -5},
        good[1] | {"file": 3},
    ]
    rec = {"train.rec": bytes(88)}
    lines = [good, *([one] for one in bad)]
    return [
        rec | {"journal.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()}
        for rows in lines
    ]


def matlab() -> list[Files]:
    splits = np.empty((2, 1), dtype=object)
    for k in range(2):
        cell = np.empty((2, 2), dtype=object)
        for row, column in np.ndindex(2, 2):
            cell[row, column] = {"name": f"Ann{row}_{column}_20_f"}
        splits[k, 0] = {"pairs": cell}
    stream = io.BytesIO()
    savemat(stream, {"splits": splits})
    other = io.BytesIO()
    savemat(other, {"other": np.zeros(3)})
    return [{"x.mat": content} for content in (stream.getvalue(), other.getvalue(), b"text")]


def tfjs() -> list[Files]:
    weights = [
        {"name": "a", "shape": [2, 2], "dtype": "float32"},
        {"name": "b", "shape": [3], "dtype": "int32"},
    ]
    quantised = weights[0] | {"quantization": {"dtype": "uint8", "scale": 0.1, "min": -1.0}}
    bad: list[Any] = [
        weights[0] | {"shape": [10**12]},
        weights[0] | {"shape": [0] * 70},
        weights[0] | {"shape": [-1, -7]},
    ]
    manifests = []
    for group in (weights, [quantised, weights[1]], *([one, weights[1]] for one in bad)):
        manifest = [{"paths": ["x.bin"], "weights": group}]
        size = 28 if group is weights else 16
        manifests.append({"x.json": json.dumps(manifest).encode(), "x.bin": bytes(size)})
    for name in ("../x.bin", "/dev/zero", ""):
        manifests.append(
            {
                "x.json": json.dumps([{"paths": [name], "weights": weights}]).encode(),
                "x.bin": bytes(28),
            }
        )
    return manifests
