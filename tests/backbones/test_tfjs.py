"""TensorFlow.js's weights: every data type, and manifests that do not match their files."""

import json
import struct

import numpy as np
import pytest

from cdmllab.backbones import tfjs
from cdmllab.errors import DataError

PLAIN = [{"paths": ["a.bin"], "weights": [{"name": "w", "shape": [2], "dtype": "float32"}]}]


def write(folder, manifest, **files):
    for name, content in files.items():
        (folder / f"{name}.bin").write_bytes(content)
    path = folder / "manifest.json"
    path.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    return path


def entry(name, shape, dtype="float32", to=None, **how):
    """A tensor's line of the manifest, quantised `to` a type or not."""
    return {"name": name, "shape": shape, "dtype": dtype} | (
        {"quantization": {"dtype": to, **how}} if to else {}
    )


def test_values_of_every_type_are_decoded(tmp_path):
    tensors = [
        entry("plain", [2]),
        entry("bytes", [3], to="uint8", scale=0.5, min=-1.0),
        entry("words", [2], to="uint16", scale=2.0, min=1.0),
        entry("half", [2], to="float16"),
        entry("whole", [2], "int32"),
        entry("flags", [2], "bool"),
        entry("none", [0]),
        entry("one", []),
    ]
    content = struct.pack("<2f", 1.5, -2.0) + bytes([0, 2, 255]) + struct.pack("<2H", 0, 65_535)
    content += (
        struct.pack("<2e", 0.25, -3.0)
        + struct.pack("<2i", -7, 70_000)
        + bytes([0, 1])
        + struct.pack("<f", 9.0)
    )
    result = tfjs.read(write(tmp_path, [{"paths": ["a.bin"], "weights": tensors}], a=content))
    want = {
        "plain": [1.5, -2.0],
        "bytes": [-1.0, 0.0, 126.5],
        "words": [1.0, 131_071.0],
        "half": [0.25, -3.0],
        "whole": [-7, 70_000],
        "flags": [False, True],
        "none": [],
        "one": 9.0,
    }
    assert {name: values.tolist() for name, values in result.items()} == want
    assert [values.dtype.name for values in result.values()] == ["float32"] * 4 + [
        "int32",
        "bool",
    ] + ["float32"] * 2


def test_quantised_numbers_are_rounded_once(tmp_path):
    """JavaScript computes in double precision; in single precision these would differ."""
    how = {"to": "uint8", "scale": 0.0005260649557207145, "min": -0.07101876902229645}
    result = tfjs.read(
        write(
            tmp_path,
            [{"paths": ["a.bin"], "weights": [entry("w", [256], **how)]}],
            a=bytes(range(256)),
        )
    )
    want = [np.float32(q * how["scale"] + how["min"]) for q in range(256)]
    assert result["w"].tolist() == [float(v) for v in want]
    single = np.arange(256, dtype=np.float32) * np.float32(how["scale"]) + np.float32(how["min"])
    assert (single != result["w"]).any()


def test_groups_and_shards_are_joined_in_order(tmp_path):
    groups = [
        {"paths": ["a.bin", "b.bin"], "weights": [entry("one", [1, 2])]},
        {"paths": ["c.bin"], "weights": [entry("two", [1])]},
    ]
    values = struct.pack("<2f", 1.0, 2.0)
    result = tfjs.read(
        write(tmp_path, groups, a=values[:3], b=values[3:], c=struct.pack("<f", 3.0))
    )
    assert result["one"].tolist() == [[1.0, 2.0]]
    assert result["two"].tolist() == [3.0]


def one(*tensors, paths=("a.bin",)):
    """A manifest of one group."""
    return [{"paths": list(paths), "weights": list(tensors)}]


W = entry("w", [2])


@pytest.mark.parametrize(
    ("manifest", "content", "message"),
    [
        (
            one(W),
            bytes(7),
            r"w needs 8 bytes of a\.bin, but only 7 are left: the file is truncated",
        ),
        (one(W), bytes(9), r"a\.bin has 9 bytes, but its tensors need only 8"),
        (one(W, W), bytes(16), "has two tensors named w"),
        (one(entry("w", [10**9, 10**9])), bytes(8), "w needs 4,000,000,000,000,000,000 bytes"),
        (one(entry("w", [-2])), bytes(8), r"at 0\.weights\.0\.shape\.0: .*greater than or equal"),
        (one(entry("w", [2.5])), bytes(8), r"at 0\.weights\.0\.shape\.0: .*integer"),
        (one(entry("w", [2], "string")), bytes(8), r"at 0\.weights\.0\.dtype: .*'float32'"),
        (
            one(entry("w", [2], to="uint4", scale=1.0, min=0.0)),
            bytes(2),
            r"quantization\.dtype: .*'uint8'",
        ),
        (
            one(entry("w", [2], to="uint8", scale=1.0)),
            bytes(2),
            "quantisation to uint8 needs scale and min",
        ),
        (
            one(entry("w", [2], to="uint8", scale=float("inf"), min=0.0)),
            bytes(2),
            r"scale: .*finite",
        ),
        (
            one(entry("w", [2], "int32", to="uint8", scale=1.0, min=0.0)),
            bytes(2),
            "w is quantised int32: only float32",
        ),
        ([{"paths": ["a.bin"]}], b"", r"at 0\.weights: Field required"),
        (
            {"weights": []},
            b"",
            "is not a manifest of weights: Input should be a valid (list|array)",
        ),
        ("{", b"", "is not a manifest of weights: Invalid JSON"),
        ("[" * 100_000, b"", "is not a manifest of weights: Invalid JSON"),
        (
            one(paths=["../a.bin"]),
            b"",
            r"names the file '\.\./a\.bin', which is not in the same folder",
        ),
        (
            one(paths=["/etc/hostname"]),
            b"",
            "names the file '/etc/hostname', which is not in the same folder",
        ),
        (one(paths=["..\\a.bin"]), b"", "names the file .*, which is not in the same folder"),
        (one(paths=[""]), b"", "names the file '', which is not in the same folder"),
        (one(paths=["a\0.bin"]), b"", "names the file .*, which is not in the same folder"),
        (one(paths=["b.bin"]), b"", r"b\.bin does not exist, but is listed in manifest\.json"),
    ],
)
def test_invalid_manifest_is_reported(tmp_path, manifest, content, message):
    with pytest.raises(DataError, match=message) as caught:
        tfjs.read(write(tmp_path, manifest, a=content))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_manifest_is_reported(tmp_path):
    with pytest.raises(DataError, match=r"gone\.json does not exist"):
        tfjs.read(tmp_path / "gone.json")
