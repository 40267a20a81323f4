"""Images that would start a program, take forever, or make a decoder raise something odd."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from tests.data.making import folder, jpeg, pixels

from cdmllab.data import decode as decoding
from cdmllab.data import packing
from cdmllab.data.decode import decode
from cdmllab.data.inspection import inspect
from cdmllab.errors import DataError

EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n"
    b"(x) (w) file\nshowpage\n%%EOF\n"
)


def stored(kind, mode="RGB", size=(40, 33), **options):
    stream = io.BytesIO()
    Image.fromarray(pixels(1, size)).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A program called ``gs`` that leaves a mark, first in the path."""
    mark, program = tmp_path / "ran", tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return mark


def test_postscript_named_as_a_jpeg_starts_no_ghostscript(tmp_path, ghostscript):
    with pytest.raises(
        DataError, match=r"here: the image cannot be decoded .*begins with '%!PS-Adobe-3.0"
    ):
        decode(EPS, "here")
    source = folder(tmp_path / "src", (2, 2))
    (source / "p0/0.jpg").write_bytes(EPS)
    assert list(inspect(source).unread) == ["p0/0.jpg"]
    report = packing.pack(source, tmp_path / "dst", packing.Settings(size=16))
    assert list(report.skipped) == ["p0/0.jpg"]
    assert not ghostscript.exists()


def progressive(scans, size):
    """A JPEG that refines its pixels again and again."""
    data = stored("JPEG", size=size, progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def test_jpeg_that_draws_its_pixels_hundreds_of_times_is_refused(monkeypatch):
    with pytest.raises(
        DataError,
        match=r"here: the image cannot be decoded .309 scans of 40 x 40 pixels are too many",
    ):
        decode(progressive(300, (40, 40)), "here")
    assert decode(progressive(20, (40, 40)), "here").shape == (40, 40, 3)
    monkeypatch.setattr(decoding, "MOST_DRAWN_PX", 20 * 40 * 40)
    with pytest.raises(DataError, match="29 scans of 40 x 40 pixels are too many"):
        decode(progressive(20, (40, 40)), "here")


def test_jpeg_of_many_scans_in_another_way_is_refused_too():
    data = stored("JPEG", "CMYK", progressive=True)  # which Pillow decodes
    last = data.rindex(b"\xff\xda")
    with pytest.raises(DataError, match="scans of 33 x 40 pixels are too many"):
        decode(data[:last] + data[last:-2] * 300 + data[-2:], "here")


def test_scans_are_counted_as_the_decoder_sees_them():
    data = stored("JPEG", progressive=True)
    assert decoding._scans(data) == 10
    assert decoding._scans(jpeg(0)) == 1
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 300) + b"\xff\xda\x00" * 100
    film = b"\xff\xda\x00" * 500  # behind the image, as phones put it
    assert decoding._scans(data[:2] + comment + data[2:] + film) == 10
    assert np.array_equal(decode(data[:2] + comment + data[2:] + film, ""), decode(data, ""))
    assert decoding._scans(data[:2] + b"\xff" * 20 + data[2:]) == 10
    assert decoding._scans(data[: len(data) // 2]) < 10


def png(width, height):
    """A header that declares many pixels, without any data."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [7_100, 10_000, 20_000, 2_000_000_000])
def test_too_many_pixels_are_refused_without_changing_warning_filters(monkeypatch, side):
    """Threads share the filters: two that change and restore them at once leave them changed."""
    monkeypatch.setattr(warnings, "catch_warnings", None)
    with pytest.raises(DataError, match=f"{side} x {side} pixels are too many"):
        decode(png(side, side), "here")


@pytest.mark.parametrize(
    "error",
    [IndexError("x"), ZeroDivisionError(), AssertionError("x"), RecursionError(), KeyError("x")],
)
def test_any_decoder_error_becomes_one_sentence(monkeypatch, error):
    def fail(self):
        raise error

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(DataError, match=r"here: the image cannot be decoded \(.+\)"):
        decode(stored("PNG"), "here")
