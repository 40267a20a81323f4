"""Lists, indices and headers with invalid UTF-8, absurd numbers, or paths that lead outside."""

import json

import numpy as np
import pytest
from tests.data.making import folder, jpeg, write_pack

from cdmllab.data import align, ijb, lfw, packing, pair_lists, records
from cdmllab.data.inspection import inspect
from cdmllab.data.packs import Pack, read_property
from cdmllab.data.packwriter import PackWriter
from cdmllab.data.recordio import RecordFile, frame, read_index
from cdmllab.errors import DataError
from cdmllab.runs import Run

DIGITS = "9" * 5000


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "line", [b"0\t" + b"9" * 5000, b"9" * 5000 + b"\t0", b"0\t-4", b"1", b"0\t0\t1\t52", b"\xff\t0"]
)
def test_index_of_other_numbers_is_refused_by_its_line(tmp_path, line):
    path = written(tmp_path / "x.idx", line + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=r"x\.idx, line 1: expected `key<TAB>offset`") as caught:
        read_index(path)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "message",
    [
        f"{DIGITS},112,112",
        "1000000000000,112,112",
        "3,112,70000",
        "\u00b2,16,16",
        "\u0663,16,16",
        "3,16",
        "3,16,16,16",
        "",
    ],
)
def test_property_that_declares_too_much_is_refused(tmp_path, message):
    with pytest.raises(DataError, match="property"):
        read_property(written(tmp_path / "property", message))


@pytest.mark.parametrize("second", [DIGITS, "\u00b2", "\u0663", "x"])
def test_malformed_number_of_images_is_ignored(tmp_path, second):
    assert read_property(written(tmp_path / "property", f"3,16,16\n{second}\n")) == (
        3,
        16,
        16,
        None,
    )


def test_header_with_far_more_identities_than_records_is_refused(tmp_path):
    header = records.pack([3.0, 3.0 + 2**22])
    data = b"".join(map(frame, (header, *(records.pack(0.0, jpeg(k)) for k in (1, 2)))))
    with pytest.raises(DataError, match="announces 4,194,304 identities, and has 3 records"):
        Pack(written(tmp_path / "train.rec", data))


def test_property_with_far_more_identities_than_records_is_refused(tmp_path):
    root = write_pack(tmp_path / "p", header=False)
    (root / "property").write_text("16000000,16,16")
    with pytest.raises(DataError, match="announces 16,000,000 identities, and has 6 records"):
        Pack(root)


def test_record_of_a_million_parts_is_refused(tmp_path):
    parts = np.tile(np.array([0xCED7230A, 2 << 29], "<u4"), 200_000)
    parts[1] = 1 << 29
    with pytest.raises(
        DataError, match=r"record 0, byte .*: the record has more than 100,000 parts"
    ):
        RecordFile(written(tmp_path / "x.rec", parts.tobytes()))


OUTSIDE = [
    "../../secret.jpg",
    "/etc/passwd",
    "a/../../b.jpg",
    "..\\secret.jpg",
    "C:/x.jpg",
    "a\x00.jpg",
    "a\x1b[2J.jpg",
    "a" * 2000,
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out_of_the_data_set_are_refused(tmp_path, name):
    calfw = [f"{name if k == 0 else k}.jpg {k // 20}" for k in range(40)]
    with pytest.raises(DataError, match=r"which is not an image below|expected"):
        pair_lists.calfw(written(tmp_path / "calfw.txt", "\n".join(calfw)))
    with pytest.raises(DataError, match=r"which is not an image below|fields"):
        ijb.read_media(written(tmp_path / "media.txt", f"1.jpg 1 1\n{name} 2 2\n"))
    for k, line in enumerate(("1 1.jpg", f"1 ../{name}")):
        written(tmp_path / f"cfp/Pair_list_{'PF'[k]}.txt", line)
    for which in ("same", "diff"):
        written(tmp_path / f"cfp/Split/FP/01/{which}.txt", "1,1")
    with pytest.raises(DataError, match=r"which is not an image below"):
        pair_lists.cfp(tmp_path / "cfp", "FP")


LISTS = {
    "calfw": pair_lists.calfw,
    "lfw": pair_lists.lfw,
    "media": ijb.read_media,
    "marks": ijb.read_landmarks,
    "pairs": ijb.read_pairs,
    "landmarks": align.read_landmarks,
}
CONTENTS = {
    "no UTF-8": b"a\xff\xfe 1 1\n\xff 1 1\n",
    "superscripts": "10\t\u00b2\u00b3\nA \u00b9 \u00b2\n".encode(),
    "other digits": "A.jpg \u0663\nB.jpg \u0663\n".encode(),
    "many digits": f"A {DIGITS} {DIGITS}\nB {DIGITS} {DIGITS}\n".encode(),
    "one line": b"x" * 200_000,
    "zeros": bytes(5000),
    "nothing": b"",
}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("reader", LISTS)
def test_binary_in_place_of_text_is_refused(tmp_path, reader, kind):
    path = written(tmp_path / "x.txt", CONTENTS[kind])
    with pytest.raises(DataError, match=r"x\.txt") as caught:
        LISTS[reader](path)
    assert len(str(caught.value)) <= 300 + len(str(tmp_path))


def test_template_numbers_are_integers(tmp_path):
    for number in ("0.5", "1e300", "9007199254740993"):
        with pytest.raises(
            DataError, match="row 2: the numbers of a template and of a medium are whole"
        ):
            ijb.read_media(written(tmp_path / "m.txt", f"1.jpg 1 1\n2.jpg {number} 2\n"))


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "3",
        '{"end": 3}',
        '{"file": "a", "end": "x"}',
        '{"file": 1, "end": 0}',
        '{"file": "a", "end": -1, "skipped": "x"}',
        "[" * 5000,
        '{"file": "a", "end": 0}',
        '{"file":"a","identity":"b","offset":1e30,"crc":0,"end":0}',
    ],
)
def test_malformed_journal_restarts_the_packing(tmp_path, line):
    written(tmp_path / "journal.jsonl", line + "\n")
    with PackWriter(tmp_path) as writer:
        assert writer.processed == 0
    assert (tmp_path / "journal.jsonl").read_text() == ""


def test_malformed_report_is_ignored(tmp_path):
    packing.pack(folder(tmp_path / "src"), tmp_path / "p", packing.Settings(size=16))
    (tmp_path / "p/report.json").write_text('{"skipped": 3, "left_out": null}')
    assert inspect(tmp_path / "p").problems == []


@pytest.mark.parametrize(
    "message", [[], {"identities_in_pairs": 3}, {"identities_in_pairs": {"0": [10**30]}}]
)
def test_people_of_folds_in_another_form_are_refused(tmp_path, message):
    written(tmp_path / "folds.json", json.dumps(message))
    with pytest.raises(DataError, match=r"folds\.json"):
        lfw.people_left_out(tmp_path, 0)


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"3",
        b"\xff",
        b'{"loss": "x"}',
        b"[" * 5000,
        b'{"loss": [1]}',
        b'{"a": 1' + b"0" * 400 + b"}",
    ],
)
def test_malformed_metrics_are_refused_by_line_and_dropped_on_resuming(tmp_path, line):
    run = Run.create("x", 0, {}, within=tmp_path)
    written(
        run.folder / "metrics.jsonl", b'{"step": 1, "loss": 0.5}\n' + line + b'\n{"step": 9}\n{"st'
    )
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2 is not a JSON object of names"):
        run.metrics()
    run.drop_metrics_after(5)
    assert {key: values.tolist() for key, values in run.metrics().items()} == {
        "step": [1.0],
        "loss": [0.5],
    }
