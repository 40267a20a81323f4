from itertools import pairwise

from cdmllab.data import records
from cdmllab.data.layout import fields
from cdmllab.data.recordio import WORD, frame


def test_fields_of_a_header_and_an_image():
    data = frame(records.pack([1.0, 2.0])) + frame(records.pack(0.0, b"\xff\xd8\xffabcdefg"))
    assert [(f.kind, f.start, f.end) for f in fields(data)] == [
        ("magic", 0, 4),
        ("length", 4, 8),
        ("flag", 8, 12),
        ("label", 12, 16),
        ("ids", 16, 32),
        ("labels", 32, 40),
        ("magic", 40, 44),
        ("length", 44, 48),
        ("flag", 48, 52),
        ("label", 52, 56),
        ("ids", 56, 72),
        ("image", 72, 82),
        ("padding", 82, 84),
    ]


def test_fields_cover_every_byte_once_even_in_a_truncated_file():
    data = (
        frame(records.pack([1.0, 2.0, 3.0]))
        + frame(b"abcd" + WORD + b"efg")
        + frame(records.pack(1.0, b"x" * 50))
    )
    for cut in (len(data), 100, 61, 40, 8):
        segments = fields(data[:cut])
        assert segments[0].start == 0
        assert all(a.end == b.start for a, b in pairwise(segments))
        assert segments[-1].end == cut


def test_continued_parts_contain_image_bytes_only():
    kinds = [f.kind for f in fields(frame(b"abcd" + WORD + b"efg"))]
    assert kinds == ["magic", "length", "image", "magic", "length", "image", "padding"]
