import gzip
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.making import jpeg, pixels

from cdmllab.data import bins, safepickle
from cdmllab.data.decode import decode
from cdmllab.data.inspection import inspect
from cdmllab.errors import DataError

IMAGES = [jpeg(k) for k in range(40)]
SAME = [True, False] * 10


def dump(path: Path, value: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def python2(images: list[bytes], same: list[bool]) -> bytes:
    """What Python 2's cPickle writes with protocol 2: text and bytes are one type, opcode T."""
    strings = b"".join(b"T" + struct.pack("<i", len(image)) + image for image in images)
    flags = b"".join(b"\x88" if s else b"\x89" for s in same)
    return b"\x80\x02](" + strings + b"e](" + flags + b"e\x86."


@pytest.mark.parametrize("protocol", range(6))
def test_bins_of_every_pickle_protocol_are_read(tmp_path, protocol):
    loaded = bins.read(dump(tmp_path / "a.bin", (IMAGES, SAME), protocol))
    assert loaded.images == IMAGES
    assert loaded.same.tolist() == SAME


def test_python_2_bins_are_read(tmp_path):
    (tmp_path / "a.bin").write_bytes(python2(IMAGES, SAME))
    loaded = bins.read(tmp_path / "a.bin")
    assert (loaded.images, loaded.same.tolist()) == (IMAGES, SAME)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("old", [True, False])
def test_arrays_of_old_and_new_numpy_are_read(tmp_path, protocol, old):
    value = ([np.frombuffer(image, np.uint8) for image in IMAGES], [np.bool_(s) for s in SAME])
    data = pickle.dumps(value, protocol=protocol)
    if old and protocol < 4:  # names are of any length there
        data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "a.bin").write_bytes(data)
    loaded = bins.read(tmp_path / "a.bin")
    assert (loaded.images, loaded.same.tolist()) == (IMAGES, SAME)


def test_pixels_are_read_as_they_are(tmp_path):
    arrays = [pixels(k) for k in range(4)]
    loaded = bins.read(dump(tmp_path / "a.bin", (arrays, [1, 0])))
    assert np.array_equal(loaded.decoded(), np.stack(arrays))
    fortran = [np.asfortranarray(a) for a in arrays]
    assert np.array_equal(
        bins.read(dump(tmp_path / "b.bin", (fortran, [1, 0]))).decoded(), np.stack(arrays)
    )


def test_bins_and_archives_round_trip(tmp_path):
    bins.write(tmp_path / "a.bin", IMAGES, SAME)
    images, same = pickle.loads((tmp_path / "a.bin").read_bytes())  # as InsightFace's own code does
    assert (images, same) == (IMAGES, SAME)
    bins.write_npz(tmp_path / "a.npz", bins.read(tmp_path / "a.bin"))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as plain:
        assert set(plain) == {"jpeg", "length", "same"}
    again = bins.read(tmp_path / "a.npz")
    assert (again.images, again.same.tolist()) == (IMAGES, SAME)
    assert np.array_equal(again.decoded()[7], decode(IMAGES[7], ""))


def test_pairs_are_in_folds_one_after_the_other():
    pairs = bins.in_order([True] * 20, 10, "here")
    assert pairs.first[:2].tolist() == [0, 2]
    assert pairs.second[:2].tolist() == [1, 3]
    assert np.bincount(pairs.fold).tolist() == [2] * 10


def test_bin_with_an_odd_number_of_pairs_still_has_folds(tmp_path):
    bins.write(tmp_path / "a.bin", [IMAGES[0]] * 46, [True, False] * 11 + [True])
    assert np.bincount(bins.read(tmp_path / "a.bin").pairs().fold).tolist() == [3, 3, 3] + [2] * 7
    with pytest.raises(DataError, match="here: 9 pairs do not fill 10 folds"):
        bins.in_order([True] * 9, 10, "here")


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("make", [
    lambda marker: Evil(os.system, f"touch {marker}"),
    lambda marker: Evil(eval, f"open({str(marker)!r}, 'w')"),
    lambda marker: Evil(open, str(marker), "w"),
    lambda marker: Evil(__import__, "os"),
    lambda marker: Evil(np.load, str(marker)),
    lambda marker: Evil(Path.touch, marker),
    lambda marker: np.array([Evil(os.system, f"touch {marker}")], dtype=object),
])  # fmt: skip
def test_untrusted_pickles_are_refused_and_nothing_runs(tmp_path, make, protocol):
    marker = tmp_path / "ran"
    dump(tmp_path / "a.bin", ([make(marker)] * 2, [True]), protocol)
    with pytest.raises(DataError, match="is refused, and nothing of it was run") as caught:
        bins.read(tmp_path / "a.bin")
    assert str(tmp_path / "a.bin") in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.",
        b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.",
        b"\x80\x02cnumpy\nfromfile\n.",
        b"\x80\x02cnumpy.core.multiarray\nsystem\n.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
        b"Pperson\n.",
        b"\x80\x02\x82\x01.",
    ],
)
def test_crafted_pickles_are_refused(data):
    with pytest.raises(DataError):
        safepickle.loads(data, "here")


def test_pickle_that_needs_endless_memory_is_an_error():
    with pytest.raises(DataError):
        safepickle.loads(b"\x80\x02Nr\xff\xff\xff\x7f\x8e" + b"\xff" * 7 + b"\x7f", "here")


BAD = {
    "no list": (
        {"a": 1},
        r"nothing of it was run: it contains a dictionary, which no such file does",
    ),
    "three": ((IMAGES, SAME, 3), r"must contain \(images, issame\)"),
    "odd": ((IMAGES[:3], [True]), "3 images do not match 1 pairs"),
    "few": (([], []), "0 images do not match 0 pairs"),
    "flag": ((IMAGES[:2], [2]), "pair 0: issame must be true or false, got 2"),
    "text": ((["a", "b"], [True]), "image 0: expected JPEG bytes or a uint8 array, got str"),
    "float": (([np.zeros((4, 4, 3))] * 2, [True]), r"got float64 \(4, 4, 3\)"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bins_of_another_form_are_refused(tmp_path, kind):
    value, message = BAD[kind]
    with pytest.raises(DataError, match=message):
        bins.read(dump(tmp_path / "a.bin", value))


def test_empty_missing_and_truncated_bins_are_refused(tmp_path):
    (tmp_path / "a.bin").touch()
    with pytest.raises(DataError, match="is empty"):
        bins.read(tmp_path / "a.bin")
    with pytest.raises(DataError, match="does not exist"):
        bins.read(tmp_path / "b.bin")
    (tmp_path / "c.bin").write_bytes(pickle.dumps((IMAGES, SAME))[:-50])
    with pytest.raises(DataError, match="not a readable pickle"):
        bins.read(tmp_path / "c.bin")


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, b"x")
    return stream.getvalue()


SAVED_AS_BIN = {
    "html": (
        b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded",
        "not a readable pickle: it is an HTML page",
    ),
    "json": (b'{"error": {"code": 403}}', "not a readable pickle: it is a JSON text"),
    "sentence": (
        b"Not Found\n",
        "not a readable pickle: it is a text that begins with 'Not Found'",
    ),
    "git lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
        "it is a Git LFS pointer",
    ),
    "gzip": (gzip.compress(pickle.dumps((IMAGES, SAME))), "it is a gzip file: unpack it first"),
    "zip": (zipped("lfw.bin"), "not a readable bin: expected the arrays jpeg, length and same"),
    "checkpoint": (
        zipped("archive/data.pkl"),
        "not a readable bin: expected the arrays jpeg, length and same",
    ),
    "zeros": (bytes(2000), "it is nothing but zeros, as an unfinished download leaves them"),
    "image": (IMAGES[0], "it is a JPEG image"),
    "other bytes": (
        b"\x01\x02\x03\x04",
        r"not a readable pickle \(the byte 0x01 is no instruction of a pickle\)",
    ),
}


@pytest.mark.parametrize("kind", SAVED_AS_BIN)
def test_files_saved_as_a_bin_are_named(tmp_path, kind):
    data, message = SAVED_AS_BIN[kind]
    (tmp_path / "lfw.bin").write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        bins.read(tmp_path / "lfw.bin")
    assert str(caught.value).startswith(str(tmp_path / "lfw.bin"))
    assert inspect(tmp_path / "lfw.bin").problems == [str(caught.value)]


def test_damaged_archives_are_refused(tmp_path):
    bins.write(tmp_path / "a.bin", IMAGES, SAME)
    bins.write_npz(tmp_path / "a.npz", bins.read(tmp_path / "a.bin"))
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="not a readable bin"):
        bins.read(tmp_path / "b.npz")
    np.savez(
        tmp_path / "c.npz",
        jpeg=np.zeros(9, np.uint8),
        length=np.array([4, 4]),
        same=np.array([True]),
    )
    with pytest.raises(DataError, match="do not add up to its 9 bytes"):
        bins.read(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", jpeg=np.zeros(9, np.uint8))
    with pytest.raises(DataError, match="expected the arrays jpeg, length and same"):
        bins.read(tmp_path / "d.npz")


def test_inspect_reports_problems_of_a_bin(tmp_path):
    images = [*IMAGES[:38], b"\xff\xd8\xffno", IMAGES[0][:-100]]
    findings = inspect(dump(tmp_path / "a.bin", (images, [True] * 20)))
    assert findings.facts["pairs"] == "20 (20 genuine, 0 impostor)"
    assert any("genuine: 2, 2" in problem for problem in findings.problems)
    assert [
        k for k in (38, 39) if any(f"image {k}" in problem for problem in findings.problems)
    ] == [
        38,
        39,
    ]
    sound = inspect(dump(tmp_path / "b.bin", (IMAGES, SAME)))
    assert sound.problems == []
    assert sound.facts["folds"] == "10 of 2 pairs"


def test_inspect_states_uneven_folds_and_finds_no_fault_in_them(tmp_path):
    findings = inspect(dump(tmp_path / "a.bin", ([IMAGES[0]] * 46, [True, False] * 11 + [True])))
    assert findings.facts["folds"] == "10 of 2 to 3 pairs"
    assert findings.problems == []


def test_inspect_reports_folds_that_cannot_be_evaluated(tmp_path):
    sorted_by_kind = inspect(
        dump(tmp_path / "a.bin", ([IMAGES[0]] * 46, [True] * 12 + [False] * 11))
    )
    assert sorted_by_kind.problems == [
        "the numbers of genuine and impostor pairs differ within a fold "
        "(genuine: 3, 3, 3, 2, 1, 0, 0, 0, 0, 0)"
    ]
    few = inspect(dump(tmp_path / "b.bin", ([IMAGES[0]] * 18, [True, False] * 4 + [True])))
    assert few.facts["folds"] == "none"
    assert few.problems == ["9 pairs do not fill 10 folds"]


@settings(max_examples=300)
@given(data=st.data())
def test_mutated_bins_give_a_bin_or_a_clear_error(tmp_path_factory, data):
    small = [jpeg(k, 8) for k in range(4)]
    arrays = [np.frombuffer(image, np.uint8) for image in small]
    original = data.draw(st.sampled_from([
        pickle.dumps((small, [True, False]), protocol=4),
        pickle.dumps((arrays, [np.bool_(True), np.bool_(False)]), protocol=2),
        python2(small, [True, False]),
    ]))  # fmt: skip
    mutated = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.one_of(st.integers(0, 60), st.integers(0, len(mutated) - 1)))
        mutated[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("bin") / "a.bin"
    path.write_bytes(mutated)
    try:
        loaded = bins.read(path)
        loaded.decoded()
    except DataError:
        return
    assert len(loaded.images) == 2 * len(loaded.same)
