"""Pickles that hang the standard unpickler or fill the memory, and real ones of every kind."""

import pickle
import pickletools
import resource
import struct

import numpy as np
import pytest
from tests.data.making import jpeg

from cdmllab._util import picklemachine
from cdmllab.data import bins, safepickle
from cdmllab.data.inspection import inspect
from cdmllab.errors import DataError

BEGIN = b"\x80\x04"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"


def typed(code: bytes) -> bytes:
    return b"cnumpy\ndtype\n(U" + bytes([len(code)]) + code + b"K\x00K\x01tR"


def arrays(shape: bytes, data: bytes = b"", code: bytes = b"u1") -> bytes:
    return (
        BEGIN
        + ARRAY
        + b"(K\x01"
        + shape
        + typed(code)
        + b"\x89B"
        + struct.pack("<I", len(data))
        + data
        + b"tb."
    )


def hundreds(count: int) -> bytes:
    """Lists of a hundred times the one before."""
    return b"".join(b"(" + bytes([ord("h"), k]) * 100 + b"l\x94" for k in range(count))


BOMBS = {
    "tuple keys": BEGIN + b"}N" + b"\x94h\x00h\x00\x86" * 60 + b"K\x01s.",
    "frozen sets": BEGIN + b"(" * 60 + b"K\x01\x91" * 60 + b".",
    "sets": BEGIN + b"\x8f(N" + b"h\x00h\x00\x86\x94" * 40 + b"\x90.",
    "lists of lists": BEGIN + b"K\x01\x94" + hundreds(5) + b"N\x86.",
    "flags of lists": BEGIN + b"K\x01\x94" + hundreds(1) + b"(C\x01xC\x01xl(h\x01l\x86.",
    "a byte array of 8 GiB": BEGIN + b"\x96" + struct.pack("<Q", 8 << 30) + b"x.",
    "bytes of 8 GiB": BEGIN + b"\x8e" + struct.pack("<Q", 8 << 30) + b"x.",
    "text of 8 EiB": BEGIN + b"\x8d" + struct.pack("<Q", 2**63) + b"x.",
    "text of less than nothing": BEGIN + b"T" + struct.pack("<i", -2) + b"x.",
    "a frame of 8 EiB": BEGIN + b"\x95" + struct.pack("<Q", 2**63) + b"N",
    "deep lists": BEGIN + b"]" * 100_000 + b"a" * 99_999 + b".",
    "deep tuples": BEGIN + b"N" + b"\x85" * 100_000 + b".",
    "a list in itself": BEGIN + b"]\x94h\x00a.",
    "a number of 5,000 digits": b"I" + b"9" * 5000 + b"\n.",
    "a long number of 5,000 digits": b"L" + b"9" * 5000 + b"L\n.",
    "a long number of 16,000 bits": BEGIN
    + b"\x8b"
    + struct.pack("<i", 2000)
    + b"\x7f" * 2000
    + b".",
    "a long number of 2,000 bits": BEGIN + b"\x8a\xff" + b"\x7f" * 255 + b".",
    "a memo of 2^31": b"Np2147483648999999999999\n.",
    "a type of structures": arrays(b"K\x01\x85", b"\x00" * 8, b"(1,,2)f4"),
    "a type in commas": arrays(b"K\x01\x85", b"\x00" * 8, b"f4" + b",f4" * 60),
    "a type of objects": arrays(b"K\x01\x85", b"\x00" * 8, b"O"),
    "a type of nothing": arrays(b"J\xff\xff\xff\x7f\x85", b"", b"V0"),
    "a type that is a tuple": BEGIN
    + b"cnumpy\ndtype\n("
    + b"N"
    + b"\x94h\x00h\x00\x86" * 40
    + b"tR.",
    "a byte order that is a tuple": BEGIN
    + typed(b"u1")
    + b"N"
    + b"\x94h\x00h\x00\x86" * 40
    + b"b.",
    "a shape that is tuples": arrays(b"N" + b"\x94h\x00h\x00\x86" * 40),
    "a shape of 2^62": arrays(b"(\x8a\x08" + b"\xff" * 7 + b"\x3f" + b"t"),
    "a shape of forty": arrays(b"(" + b"K\x01" * 40 + b"t", b"x"),
    "a shape below zero": arrays(b"J\xff\xff\xff\xff\x85"),
    "a number of a tuple": BEGIN
    + b"cnumpy.core.multiarray\nscalar\n"
    + typed(b"u1")
    + b"N\x85\x86R.",
    "an array that is called": BEGIN + ARRAY + b"N\x85R.",
    "a function that is changed": BEGIN + b"cnumpy\ndtype\nN\x85b.",
    "an object": BEGIN + b"(cnumpy\ndtype\nU\x02u1o.",
    "quotes": b"S'" + b"\\" * 5001 + b"'\n.",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_decompression_bomb_is_refused_without_allocating(tmp_path, kind):
    path = tmp_path / "a.bin"
    path.write_bytes(BOMBS[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError) as caught:
        bins.read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19  # KiB
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 300


SAID = {
    "tuple keys": "it contains a dictionary",
    "flags of lists": "pair 0: issame must be true or false, got a list",
    "deep tuples": "its lists are nested more than 3 deep",
    "a byte array of 8 GiB": r"it ends early",
    "a type of structures": r"not of numbers or booleans, but of '\(1,,2\)f4'",
    "a shape of forty": "at most 8 whole numbers",
}


@pytest.mark.parametrize("kind", SAID)
def test_message_names_the_refused_instruction(tmp_path, kind):
    (tmp_path / "a.bin").write_bytes(BOMBS[kind])
    with pytest.raises(DataError, match=SAID[kind]):
        bins.read(tmp_path / "a.bin")


def test_every_instruction_is_executed_or_refused():
    known = {ord(one.code) for one in pickletools.opcodes} - {ord(".")}
    assert picklemachine._STEPS.keys() | picklemachine._NOT_BUILT.keys() == known
    assert not picklemachine._STEPS.keys() & picklemachine._NOT_BUILT.keys()


def test_instructions_are_counted(monkeypatch):
    monkeypatch.setattr(picklemachine, "MOST", 1000)
    assert safepickle.loads(b"K\x07" * 999 + b".", "here") == 7
    with pytest.raises(DataError, match=r"here is refused, .* it has more than 1,000 instructions"):
        safepickle.loads(b"K\x07" * 1000 + b".", "here")


IMAGES = [jpeg(k, 8) for k in range(4)]
KINDS = {
    "bytes and flags": (IMAGES, [True, False]),
    "lists, not a tuple": [IMAGES, [1, 0]],
    "arrays of bytes": (
        [np.frombuffer(image, np.uint8) for image in IMAGES],
        [np.bool_(True), np.bool_(False)],
    ),
    "own arrays of bytes": (
        [np.frombuffer(image, np.uint8).copy() for image in IMAGES],
        np.array([True, False]),
    ),
    "whole numbers of numpy": (IMAGES, np.array([1, 0], dtype=">i4")),
    "byte arrays": ([bytearray(image) for image in IMAGES], [True, False]),
    "one image four times": ([IMAGES[0]] * 4, (True, False)),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_real_bins_of_every_protocol_are_read(tmp_path, kind, protocol):
    if kind == "byte arrays" and protocol < 5:
        pytest.skip("before protocol 5 it names builtins.bytearray, which is not on the list")
    (tmp_path / "a.bin").write_bytes(pickle.dumps(KINDS[kind], protocol=protocol))
    loaded = bins.read(tmp_path / "a.bin")
    assert loaded.images == (IMAGES if kind != "one image four times" else [IMAGES[0]] * 4)
    assert loaded.same.tolist() == [True, False]


def test_text_of_python_2_is_read_as_bytes():
    texts = [b"\xff\xd8\x00'\"\\\n\r\t~", b"it's", b""]
    lines = b"".join(
        b"S" + quoted.encode() + b"\n"
        for quoted in (r"'\xff\xd8\x00\'" + r'"\\\n\r\t~' + "'", '"it\'s"', "''")
    )
    assert safepickle.loads(b"(" + lines + b"l.", "here") == texts


def test_images_that_declare_terabytes_are_refused(tmp_path):
    """A hundred times the same image, which is large and small when stored."""
    one = jpeg(0, 16)
    wide = bins.encode_jpeg(np.zeros((6000, 6000, 3), np.uint8), 1)
    (tmp_path / "a.bin").write_bytes(pickle.dumps(([wide] * 100, [True] * 50)))
    with pytest.raises(
        DataError, match=r"bytes would decode to 10,800,000,000, which is implausible"
    ):
        bins.read(tmp_path / "a.bin").decoded()
    (tmp_path / "b.bin").write_bytes(pickle.dumps(([one] * 10_000, [True] * 5000)))
    assert bins.read(tmp_path / "b.bin").decoded().shape == (10_000, 16, 16, 3)


def number(n: int) -> bytes:
    return b"\x8a\x09" + n.to_bytes(9, "little", signed=True)


def of_shape(*shape: int, data: bytes = b"") -> bytes:
    """An array of bytes, as the instructions of a pickle."""
    sides = b"(" + b"".join(map(number, shape)) + b"t"
    content = b"B" + struct.pack("<I", len(data)) + data
    return ARRAY + b"(K\x01" + sides + typed(b"u1") + b"\x89" + content + b"tb"


def listed(value: bytes, times: int) -> bytes:
    """A bin that lists one image many times."""
    again = b"h\x01" * (times - 1)
    return b"\x80\x02(" + value + b"q\x01" + again + b"l(" + b"\x88" * (times // 2) + b"l\x86."


TWO = b"(\x88\x89l\x86."
REPEATED = {
    "no columns": (b"\x80\x02" + of_shape(10**12, 0) + TWO, "lists 1,000,000,000,000 images"),
    "no pixels": (b"\x80\x02" + of_shape(10**9, 0, 8, 3) + TWO, "lists 1,000,000,000 images"),
    "no rows": (b"\x80\x02" + of_shape(0, 10**12) + TWO, "0 images do not match 2 pairs"),
    "a wide image": (listed(of_shape(0, 10**9, 3), 20), "1,000,000,000 x 0 pixels is too small"),
    "a tall image": (listed(of_shape(10**9, 0), 20), "0 x 1,000,000,000 pixels is too small"),
    "a number": (b"\x80\x02" + of_shape(data=b"x") + TWO, "a single number in place of"),
    "bytes": (listed(b"B" + struct.pack("<I", 10**5) + bytes(10**5), 90_000), "implausible"),
    "bytes in an array": (listed(of_shape(10**5, data=bytes(10**5)), 90_000), "implausible"),
    "pixels": (listed(of_shape(200, 500, data=bytes(10**5)), 90_000), "implausible"),
    "one image": (
        listed(b"C\x01x", 100_002),
        "lists 100,002 images; a file of .* may list 100,000",
    ),
}


@pytest.mark.parametrize("kind", REPEATED)
def test_image_listed_again_and_again_is_refused_without_copies(tmp_path, kind):
    content, sentence = REPEATED[kind]
    (tmp_path / "a.bin").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=sentence):
        bins.read(tmp_path / "a.bin")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18  # KiB


def test_text_that_is_encoded_again_and_again_is_refused(tmp_path):
    text = b"X" + struct.pack("<I", 10**6) + b"a" * 10**6
    once = b"c_codecs\nencode\nq\x00(" + text + b"X\x06\x00\x00\x00latin1tq\x01R"
    (tmp_path / "a.bin").write_bytes(b"\x80\x02(" + once + b"h\x00h\x01R" * 50_000 + b"lN\x86.")
    with pytest.raises(DataError, match="it encodes more text than the file has"):
        bins.read(tmp_path / "a.bin")


def test_npz_of_millions_of_images_without_bytes_is_refused(tmp_path):
    count = 4_000_000
    arrays = {"jpeg": np.zeros(0, np.uint8), "length": np.zeros(count, np.uint8)}
    np.savez_compressed(tmp_path / "a.npz", **arrays, same=np.ones(count // 2, bool))
    with pytest.raises(DataError, match=r"lists 4,000,000 images; a file of .* bytes may list"):
        bins.read(tmp_path / "a.npz")


def test_inspection_stops_where_repeated_pixels_become_implausible(tmp_path):
    wide = bins.encode_jpeg(np.zeros((4000, 4000, 3), np.uint8), 1)
    (tmp_path / "a.bin").write_bytes(pickle.dumps(([wide] * 100, [True] * 50)))
    problems = inspect(tmp_path / "a.bin").problems
    assert "would decode to 288,000,000, which is implausible" in problems[-1]


def test_repeated_image_that_cannot_be_decoded_is_tried_once(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(bins, "decode", lambda *_, **__: tried.append(1) or refuse())
    (tmp_path / "a.bin").write_bytes(pickle.dumps(([IMAGES[0]] * 20, [True] * 10)))
    assert len(inspect(tmp_path / "a.bin").unread) == 20
    assert len(tried) == 1


def refuse():
    raise DataError("no image")
