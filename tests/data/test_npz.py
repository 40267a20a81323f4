"""Untrusted ``.npz`` files: the arrays that NumPy reads, or one error and little memory."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from cdmllab.data import npz
from cdmllab.errors import DataError, MissingError

ARRAYS = {
    "a": np.arange(6, dtype=np.int64).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "scalar": np.float32(3),
    "none": np.zeros((0, 4), np.uint8),
    "yes": np.array([True, False]),
}


def member(array, version=None):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version, allow_pickle=True)
    return stream.getvalue()


def header(text):
    """A member whose header is this text."""
    text = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def archive(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_reads(tmp_path, save):
    save(tmp_path / "x.npz", **ARRAYS)
    with npz.opened(tmp_path / "x.npz") as arrays:
        assert arrays.files == list(ARRAYS)
        for name, expected in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], expected, strict=True)
        assert arrays["a"].flags.writeable


BAD = {
    "objects": (member(np.array([{}, 1], dtype=object)), "expected numbers"),
    "text": (member(np.array(["a"])), "expected numbers"),
    "records": (member(np.zeros(1, [("a", "f4")])), "expected numbers"),
    "too much declared": (
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"),
        "declares",
    ),
    "overflow": (
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}"),
        "declares",
    ),
    "negative": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8)}"), "declares"),
    "too little promised": (
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}") + bytes(9),
        "declares",
    ),
    "a strange type": (
        header("{'descr': '(1,,2)f4', 'fortran_order': False, 'shape': (1,)}"),
        "readable",
    ),
    "a deep header": (header("(" * 9000), "readable"),
    "a call": (header("{'descr': print(1), 'fortran_order': False, 'shape': (1,)}"), "readable"),
    "version 3": (member(np.zeros(3), (3, 0)), "version"),
    "no array": (b"\x80\x04N.", "readable"),
    "nothing": (b"", "readable"),
}


@pytest.mark.parametrize("name", BAD)
def test_members_that_are_not_plain_arrays_are_refused_by_name(tmp_path, name):
    content, message = BAD[name]
    path = archive(tmp_path / "x.npz", [("a.npy", content)])
    with pytest.raises(DataError, match=message) as caught, npz.opened(path) as arrays:
        arrays["a"]
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_bomb_is_refused_before_decoding(tmp_path):
    """A gigabyte of zeros in a megabyte."""
    content = header("{'descr': '|u1', 'fortran_order': False, 'shape': (1073741824,)}")
    path = tmp_path / "x.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(content)
        for _ in range(1024):
            stream.write(bytes(1 << 20))
    assert path.stat().st_size < 2 << 20
    tracemalloc.start()
    with pytest.raises(DataError, match="implausible"), npz.opened(path) as arrays:
        arrays["a"]
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_refused(tmp_path):
    path = archive(
        tmp_path / "x.npz", [("a.npy", member(np.zeros(1))), ("a.npy", member(np.ones(1)))]
    )
    with pytest.raises(DataError, match="two arrays of one name"), npz.opened(path):
        pass


def test_encrypted_member_is_refused(tmp_path):
    path = archive(tmp_path / "x.npz", [("a.npy", member(np.zeros(1)))])
    content = path.read_bytes()
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(signature) + flags
        content = content[:at] + b"\x01" + content[at + 1 :]
    path.write_bytes(content)
    with pytest.raises(DataError, match="is encrypted"), npz.opened(path) as arrays:
        arrays["a"]


def test_changed_bit_is_detected(tmp_path):
    path = archive(tmp_path / "x.npz", [("a.npy", member(np.arange(100.0)))])
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="Bad CRC-32"), npz.opened(path) as arrays:
        arrays["a"]


def test_missing_array_is_named(tmp_path):
    with pytest.raises(MissingError, match="does not exist"), npz.opened(tmp_path / "x.npz"):
        pass
    np.savez(tmp_path / "x.npz", a=1, b=2)
    with (
        pytest.raises(DataError, match="has no array 'c'; it has a, b"),
        npz.opened(tmp_path / "x.npz") as arrays,
    ):
        arrays["c"]
