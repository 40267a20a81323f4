import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.data.making import jpeg, write_pack

from cdmllab.data import records
from cdmllab.data.decode import decode
from cdmllab.data.inspection import inspect
from cdmllab.data.packs import Pack, exact_header
from cdmllab.data.packwriter import PackWriter
from cdmllab.data.recordio import frame
from cdmllab.errors import DataError


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("header", [True, False])
def test_pack_is_read_with_and_without_header_and_index(tmp_path, header, index):
    pack = Pack(write_pack(tmp_path / "p", header=header, index=index))
    assert pack.labels.tolist() == [0, 0, 1, 1, 1, 2]
    assert (len(pack), pack.num_identities) == (6, 3)
    read = pack.read([5, 0])
    assert read.shape == (2, 16, 16, 3)
    assert np.array_equal(read[0], decode(jpeg(5), ""))
    assert bytes(pack.image(3)) == jpeg(3)
    assert inspect(pack.path.parent).problems == []


def test_records_follow_their_keys_and_not_the_file(tmp_path):
    """An index whose keys are in another order than the file, as im2rec's shuffling leaves them."""
    root = write_pack(tmp_path / "p", (2, 0, 1), header=False)
    lines = (root / "train.idx").read_text().splitlines()
    offsets = [line.split("\t")[1] for line in lines]
    (root / "train.idx").write_text(
        "".join(f"{key}\t{o}\n" for key, o in zip((7, 3, 5), offsets, strict=True))
    )
    assert Pack(root).labels.tolist() == [0, 1, 2]
    assert bytes(Pack(root).image(0)) == jpeg(1)


def test_several_labels_count_with_the_first(tmp_path):
    root = write_pack(tmp_path / "p", ([0, 0], [1, 9.5], [1, 3]), header=False)
    assert Pack(root).labels.tolist() == [0, 1, 1]


def test_legacy_float64_labels_are_read(tmp_path):
    (tmp_path / "p").mkdir()
    data = b""
    for label in (0.0, 2.0, 1.0):
        payload = (
            struct.pack("<IfQQ", 2, 0.0, 0, 0)
            + np.array([label, 7.0], "<f8").tobytes()
            + jpeg(int(label))
        )
        data += frame(payload)
    (tmp_path / "p/train.rec").write_bytes(data)
    pack = Pack(tmp_path / "p")
    assert pack.labels.tolist() == [0, 2, 1]
    assert bytes(pack.image(1)) == jpeg(2)


def test_legacy_float64_header_is_read():
    payload = struct.pack("<IfQQ", 2, 0.0, 0, 0) + np.array([7.0, 9.0], "<f8").tobytes()
    record = records.unpack(memoryview(payload), "here")
    assert record.labels.tolist() == [7.0, 9.0]
    assert len(record.image) == 0


@given(
    st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=5),
    st.binary(),
    st.integers(0, 2**64 - 1),
)
def test_image_records_round_trip(labels, rest, number):
    image = b"\xff\xd8\xff\xe0" + rest
    record = records.unpack(memoryview(records.pack(labels, image, id_=number)), "here")
    assert record.labels.tolist() == labels
    assert (bytes(record.image), record.id, record.flag) == (image, number, len(labels))
    single = records.unpack(memoryview(records.pack(labels[0], image)), "here")
    assert (single.flag, single.labels.tolist(), bytes(single.image)) == (0, labels[:1], image)


def test_image_containing_the_magic_word_is_reassembled(tmp_path):
    from cdmllab.data.recordio import WORD

    image = jpeg(1)
    cut = len(image) - len(image) % 4 - 8
    image = (
        image[:cut] + WORD + image[cut:]
    )  # at a multiple of 4 of the payload, whose header has 24 bytes
    root = write_pack(tmp_path / "p", (0, 1), images=[jpeg(0), image], header=False)
    assert (np.frombuffer((root / "train.rec").read_bytes(), "<u4") == 0xCED7230A).sum() == 3
    assert bytes(Pack(root).image(1)) == image
    assert Pack(root).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((0, float("nan"), 1), "label nan of image 1"),
        ((0, 1.5, 1), r"label 1\.5 of image 1"),
        ((0, -1, 1), "label -1 of image 1"),
        ((float("inf"), 0, 1), "label inf of image 0"),
        ((0, 3e9, 1), r"label 3e\+09 of image 1 is not a whole number in 0 \.\. 16,777,216"),
    ],
)
def test_labels_that_are_not_identities_are_named(tmp_path, labels, message):
    root = (
        write_pack(tmp_path / "p", labels, header=False)
        if np.isfinite(labels).all() and max(labels) < 9
        else _raw(tmp_path, labels)
    )
    with pytest.raises(DataError, match=message):
        Pack(root)


def _raw(tmp_path: Path, labels: tuple[float, ...]) -> Path:
    (tmp_path / "p").mkdir()
    data = b"".join(frame(records.pack(label, jpeg(k))) for k, label in enumerate(labels))
    (tmp_path / "p/train.rec").write_bytes(data)
    return tmp_path / "p"


@pytest.mark.parametrize("id2", [0, 0xFFD8FF << 32])
def test_truncated_last_record_is_named(tmp_path, id2):
    cut = records.pack([0.0, 1.0], id2=id2)[: records.HEADER_BYTES]
    (tmp_path / "train.rec").write_bytes(frame(records.pack(0.0, jpeg(0))) + frame(cut))
    with pytest.raises(
        DataError, match=r"train\.rec, record 1: it announces 2 labels, and only 0 bytes follow"
    ):
        Pack(tmp_path)


def test_labels_are_checked_against_the_expected_number(tmp_path):
    root = write_pack(tmp_path / "p")
    with pytest.raises(DataError, match="has 3 identities, 2 are expected"):
        Pack(root, num_identities=2)
    assert Pack(root, num_identities=5).num_identities == 5
    (root / "property").unlink()
    headless = write_pack(tmp_path / "q", header=False)
    (headless / "property").unlink()
    with pytest.raises(DataError, match=r"label 2 of image 5 is not a whole number in 0 \.\. 1"):
        Pack(headless, num_identities=2)


def test_label_gaps_are_found(tmp_path):
    root = write_pack(tmp_path / "p", (0, 0, 2))
    assert Pack(root).gaps().tolist() == [1]
    assert any("1 identities have no image, the first is 1" in p for p in inspect(root).problems)


def test_images_of_different_sizes_are_named(tmp_path):
    root = write_pack(tmp_path / "p", (0, 1), images=[jpeg(0, 16), jpeg(1, (12, 16))])
    with pytest.raises(
        DataError, match="record 2: the image has 16 x 12 pixels, others have 16 x 16"
    ):
        Pack(root).read([0, 1])


PROPERTIES = {
    "plain": ("3,16,16", None),
    "spaces and CRLF": ("\ufeff3, 16, 16\r\n", None),
    "RecBuilder": ("3,16,16\n6\n", 6),
    "rec2shufrec.py": ("3,16,16\n6\nshuffled\n2019-05-01 10:00:00.000001\n", 6),
    "a word": ("3,16,16\nmade by hand\n", None),
}


@pytest.mark.parametrize("kind", PROPERTIES)
def test_property_may_have_more_lines(tmp_path, kind):
    """Both of InsightFace's writers put the number of images on the second line."""
    text, images = PROPERTIES[kind]
    root = write_pack(tmp_path / "p", header=False)
    (root / "property").write_bytes(text.encode())
    assert Pack(root).property == (3, 16, 16, images)
    assert Pack(root).num_identities == 3


@pytest.mark.parametrize(
    "text", ["3,16", "a,b,c", "3,16,16,16", "", "0,16,16", "6\n3,16,16", "<html>"]
)
def test_property_of_another_form_is_refused(tmp_path, text):
    root = write_pack(tmp_path / "p")
    (root / "property").write_text(text)
    with pytest.raises(DataError, match="property"):
        Pack(root)


def test_file_of_a_mac_next_to_a_pack_is_no_second_pack(tmp_path):
    root = write_pack(tmp_path / "p")
    for file in sorted(root.iterdir()):
        file.rename(root / file.name.replace("train", "faces"))
    (root / "._faces.rec").write_bytes(b"\0\5\x16\7")
    assert Pack(root).path.name == "faces.rec"


def test_path_that_is_not_a_pack_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        Pack(tmp_path / "none")
    with pytest.raises(DataError, match=r"contains 0 \.rec files"):
        Pack(tmp_path)


def test_header_with_a_wrong_image_count_is_refused(tmp_path):
    root = write_pack(tmp_path / "p", index=False)
    data = (root / "train.rec").read_bytes()
    old, new = frame(records.pack([7.0, 10.0])), frame(records.pack([70.0, 73.0]))
    (root / "train.rec").write_bytes(data.replace(old, new))
    with pytest.raises(DataError, match="announces 69 images, there are 9"):
        Pack(root)


@pytest.mark.parametrize(
    "images", [17_091_657, 17_091_658, 17_091_659, 17_091_660, 2**24 - 1, 2**24, 2**25 + 1]
)
@pytest.mark.parametrize("identities", [360_232, 360_233, 1])
def test_header_beyond_float32_is_corrected_from_the_records(images, identities):
    """Above 2^24 a header is off by one or two; ranges begin at the first record without image."""
    first, end = images + 1, images + 1 + identities
    rounded = (int(np.float32(number)) for number in (first, end))
    assert exact_header(*rounded, largest=end - 1, is_range=lambda key: first <= key < end) == (
        first,
        end,
    )


def test_header_within_float32_is_trusted():
    assert exact_header(7, 10, largest=9, is_range=lambda key: key >= 5) == (7, 10)
    assert exact_header(7, 2**40, largest=9, is_range=lambda key: key >= 5) == (7, 2**40)


def test_orientation_of_a_record_is_not_applied(tmp_path):
    """As in Pillow, TurboJPEG and nvJPEG; OpenCV would turn it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = jpeg(1, (12, 16), exif=exif)
    root = write_pack(tmp_path / "p", (0, 1), images=[image, jpeg(2, (12, 16))])
    assert Pack(root).read([0]).shape == (1, 12, 16, 3)
    assert decode(image, "a file").shape == (16, 12, 3)


WRONG = {
    "train.rec": (
        b"<!DOCTYPE html><html>" + b" " * 99,
        r"record 0, byte 0: .*: it is an HTML page",
    ),
    "train.idx": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n",
        r"line 1: .*: it is a Git LFS pointer",
    ),
    "property": (b'{"error": "quota exceeded"}', "property must read .*: it is a JSON text"),
}


@pytest.mark.parametrize("name", WRONG)
def test_files_saved_under_a_wrong_name_are_named(tmp_path, name):
    data, message = WRONG[name]
    root = write_pack(tmp_path / "p", index=name == "train.idx")
    (root / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        Pack(root)


def test_unfinished_download_of_a_pack_is_named(tmp_path):
    """The program that downloads reserves the whole file and fills it from the front."""
    root = write_pack(tmp_path / "p", index=False)
    pack = Pack(root)
    data, end = pack.path.read_bytes(), int(pack.file.offsets[3])
    (root / "train.rec").write_bytes(data[:end].ljust(len(data), b"\0"))
    with pytest.raises(DataError, match=r"record 3, byte .* got 0x0: it is nothing but zeros"):
        Pack(root)


@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_packs_round_trip(tmp_path_factory, counts, seed):
    root = tmp_path_factory.mktemp("pack")
    labels = np.repeat(np.arange(len(counts)), counts)
    images = [jpeg(seed + k) for k in range(len(labels))]
    with PackWriter(root) as writer:
        for k, label in enumerate(labels):
            writer.add(str(k), f"person {label}", images[k])
        writer.finish(16)
    pack = Pack(root)
    assert pack.labels.tolist() == labels.tolist()
    assert [bytes(pack.image(k)) for k in range(len(pack))] == images
    assert inspect(root).problems == []


@settings(max_examples=150)
@given(data=st.data())
def test_mutated_packs_give_the_same_data_or_a_clear_error(tmp_path_factory, data):
    """With the checksums that our packs carry, no mutation of the records stays unseen."""
    root = tmp_path_factory.mktemp("pack")
    images = [jpeg(k, 8) for k in range(4)]
    with PackWriter(root) as writer:
        for k in range(4):
            writer.add(str(k), f"p{k // 2}", images[k])
        writer.finish(8)
    file = data.draw(
        st.sampled_from(["train.rec", "train.rec", "train.rec", "train.idx", "property"])
    )
    mutated = bytearray((root / file).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()) and data.draw(st.booleans()):
        del mutated[data.draw(st.integers(0, len(mutated) - 1)) :]
    (root / file).write_bytes(mutated)
    if inspect(root).problems:
        return
    pack = Pack(root)
    assert pack.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(pack.read(range(4)), np.stack([decode(image, "") for image in images]))
