import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdmllab.data.recordio import (
    MAGIC,
    WORD,
    RecordFile,
    RecordWriter,
    frame,
    read_index,
    write_index,
)
from cdmllab.errors import DataError

# Pieces that meet the magic word often, at multiples of 4 and next to them.
PIECES = st.sampled_from([WORD, WORD[:3], WORD[1:], b"\0", b"ab", b"abcd", WORD + WORD])
PAYLOADS = st.lists(
    st.one_of(st.binary(max_size=40), st.lists(PIECES, max_size=8).map(b"".join)), min_size=1
)


def write(path: Path, payloads: list[bytes]) -> list[int]:
    with path.open("wb") as file:
        writer = RecordWriter(file)
        return [writer.write(payload) for payload in payloads]


def slow_read(data: bytes) -> list[bytes]:
    """RecordIO word by word, straight from its description."""
    payloads, position, parts = [], 0, []
    while position < len(data):
        magic, word = struct.unpack_from("<II", data, position)
        assert magic == MAGIC
        kind, length = word >> 29, word & (2**29 - 1)
        parts.append(data[position + 8 : position + 8 + length])
        position += 8 + length + -length % 4
        if kind in (0, 3):
            payloads.append(WORD.join(parts))
            parts = []
    return payloads


@given(PAYLOADS)
def test_records_are_read_as_they_were_written(tmp_path_factory, payloads):
    path = tmp_path_factory.mktemp("rec") / "a.rec"
    offsets = write(path, payloads)
    assert slow_read(path.read_bytes()) == payloads
    scanned, indexed = RecordFile(path), RecordFile(path, np.array(offsets))
    assert scanned.offsets.tolist() == offsets
    assert [bytes(view) for view in scanned] == payloads
    assert [bytes(indexed[k]) for k in range(len(indexed))] == payloads


def test_frame_of_a_plain_payload_is_header_payload_zeros():
    assert frame(b"abcde") == bytes.fromhex("0a23d7ce 05000000") + b"abcde\0\0\0"


def test_frame_splits_at_an_aligned_magic_word_and_drops_it():
    first, last = struct.pack("<II", MAGIC, 1 << 29 | 4), struct.pack("<II", MAGIC, 3 << 29 | 2)
    assert frame(b"head" + WORD + b"xy") == first + b"head" + last + b"xy\0\0"


def test_frame_keeps_an_unaligned_magic_word():
    payload = b"a" + WORD + b"bcd"
    assert frame(payload) == struct.pack("<II", MAGIC, 8) + payload


def test_aligned_magic_word_is_only_at_starts_of_parts(tmp_path):
    path = tmp_path / "a.rec"
    write(path, [WORD * 3, b"ab" + WORD * 2, b"abcd" + WORD])
    words = np.frombuffer(path.read_bytes(), "<u4")
    assert (words == MAGIC).sum() == 4 + 1 + 2


def test_views_are_windows_into_the_mapped_file(tmp_path):
    write(tmp_path / "a.rec", [b"abcd", b"efgh"])
    file = RecordFile(tmp_path / "a.rec")
    assert file[0].obj is file[1].obj
    assert file[0].readonly


def test_record_file_can_be_sent_to_another_process(tmp_path):
    import pickle

    write(tmp_path / "a.rec", [b"abcd", b"efgh"])
    again = pickle.loads(pickle.dumps(RecordFile(tmp_path / "a.rec")))
    assert [bytes(view) for view in again] == [b"abcd", b"efgh"]


DAMAGE = {
    "truncated": (lambda d: d[:-6], r"record 1, byte 16.*reaches 3 bytes past the end"),
    "header cut": (lambda d: d[:20], r"record 1, byte 16.*ends inside"),
    "wrong magic": (lambda d: d[:16] + b"XXXX" + d[20:], r"record 1, byte 16.*magic word"),
    "long": (lambda d: d[:20] + b"\xff\xff\xff\x1f" + d[24:], r"record 1, byte 16.*past the end"),
    "middle first": (
        lambda d: d[:20] + b"\x05\0\0\x40" + d[24:],
        r"record 1, byte 16.*kind 2 cannot be the first",
    ),
    "never ends": (lambda d: d[:20] + b"\x05\0\0\x20" + d[24:], r"record 1, byte 32.*ends inside"),
    "unknown part": (lambda d: d[:20] + b"\x05\0\0\xe0" + d[24:], r"kind 7"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_with_record_and_byte(tmp_path, kind):
    damage, message = DAMAGE[kind]
    path = tmp_path / "a.rec"
    write(path, [b"abcde", b"fghij"])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        RecordFile(path)
    assert str(path) in str(caught.value)
    with pytest.raises(DataError, match="record 1"):
        list(RecordFile(path, np.array([0, 16])))


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "a.rec").touch()
    with pytest.raises(DataError, match=r"a\.rec is empty"):
        RecordFile(tmp_path / "a.rec")


@pytest.mark.parametrize("offset", [-4, 2, 3, 4, 8, 28, 32, 10_000, 2**40])
def test_index_that_points_elsewhere_is_refused(tmp_path, offset):
    write(tmp_path / "a.rec", [b"abcde", b"fghij"])
    with pytest.raises(DataError, match="record 1"):
        RecordFile(tmp_path / "a.rec", np.array([0, offset]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\t0\n1 x\n", "line 2"),
        ("0\t0\n1\n", "line 2"),
        ("0\t0\t0\n", "line 1"),
        ("0\t0\n0\t16\n", "key 0 occurs twice"),
        ("", "empty"),
        ("0\t99999999999999999999\n", "line 1"),
    ],
)
def test_index_of_another_form_is_refused(tmp_path, text, message):
    (tmp_path / "a.idx").write_text(text)
    with pytest.raises(DataError, match=message):
        read_index(tmp_path / "a.idx")


def test_index_round_trips(tmp_path):
    write_index(tmp_path / "a.idx", np.array([2, 0]), np.array([0, 16]))
    keys, offsets = read_index(tmp_path / "a.idx")
    assert (keys.tolist(), offsets.tolist()) == ([2, 0], [0, 16])


def test_payload_that_is_too_long_is_refused():
    class Long(bytes):
        def __len__(self) -> int:
            return 2**29

    with pytest.raises(ValueError, match="536,870,911"):
        frame(Long())


@settings(max_examples=300)
@given(data=st.data())
def test_mutated_files_give_an_error_or_records_of_the_file(tmp_path_factory, data):
    payloads = data.draw(PAYLOADS)
    path = tmp_path_factory.mktemp("rec") / "a.rec"
    write(path, payloads)
    mutated = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del mutated[data.draw(st.integers(0, len(mutated) - 1)) :]
    path.write_bytes(mutated)
    try:
        records = [bytes(view) for view in RecordFile(path)]
    except DataError:
        return
    padded = bytes(mutated) + b"\0" * 3
    assert records == slow_read(padded[: len(mutated) + -len(mutated) % 4])


@pytest.mark.skipif(
    "CDMLLAB_MXNET_PYTHON" not in os.environ,
    reason="$CDMLLAB_MXNET_PYTHON names no Python with mxnet",
)
def test_mxnet_reads_what_we_write_and_we_what_it_writes(tmp_path):
    rng = np.random.default_rng(0)
    payloads = [rng.bytes(int(n)) for n in rng.integers(0, 300, 50)]
    payloads += [WORD, WORD * 3, b"ab" + WORD * 2, b"abcd" + WORD + b"e", b""]
    offsets = write(tmp_path / "ours.rec", payloads)
    write_index(tmp_path / "ours.idx", np.arange(len(payloads)), np.array(offsets))
    code = (
        "import mxnet as mx\n"
        "ours = mx.recordio.MXIndexedRecordIO('ours.idx', 'ours.rec', 'r')\n"
        "theirs = mx.recordio.MXIndexedRecordIO('theirs.idx', 'theirs.rec', 'w')\n"
        "for k in ours.keys: theirs.write_idx(k, ours.read_idx(k))\n"
        "theirs.close()\n"
    )
    subprocess.run(
        [os.environ["CDMLLAB_MXNET_PYTHON"], "-W", "ignore", "-c", code], check=True, cwd=tmp_path
    )
    assert (tmp_path / "theirs.rec").read_bytes() == (tmp_path / "ours.rec").read_bytes()
    assert (tmp_path / "theirs.idx").read_bytes() == (tmp_path / "ours.idx").read_bytes()
    assert [bytes(view) for view in RecordFile(tmp_path / "theirs.rec")] == payloads
