import io

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.making import jpeg, pixels

from cdmllab.data.decode import decode, decode_batch_cuda, encode_jpeg
from cdmllab.errors import DataError


def stored(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pillow(data: bytes, mode: str = "RGB") -> np.ndarray:
    x = np.asarray(Image.open(io.BytesIO(data)).convert(mode))
    return x if x.ndim == 3 else x[..., None]


FACE = Image.fromarray(pixels(1, (40, 33)))
KINDS = {
    "jpeg": stored(FACE, "JPEG"),
    "444": stored(FACE, "JPEG", subsampling=0, quality=60),
    "progressive": stored(FACE, "JPEG", progressive=True),
    "grey": stored(FACE.convert("L"), "JPEG"),
    "cmyk": stored(FACE.convert("CMYK"), "JPEG"),
    "png": stored(FACE, "PNG"),
    "palette": stored(FACE.convert("P"), "PNG"),
    "alpha": stored(FACE.convert("RGBA"), "PNG"),
    "grey png": stored(FACE.convert("L"), "PNG"),
    "pgm": stored(FACE.convert("L"), "PPM"),
    "bmp": stored(FACE, "BMP"),
    "gif": stored(FACE.convert("P"), "GIF"),
    "webp": stored(FACE, "WEBP"),
    "trailing": stored(FACE, "JPEG") + b"\0\0\0",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("colour", "mode"), [("RGB", "RGB"), ("GRAY", "L")])
def test_pixels_equal_pillows_bit_for_bit(kind, colour, mode):
    assert np.array_equal(decode(KINDS[kind], "here", colour=colour), pillow(KINDS[kind], mode))


def test_fast_decoding_is_close_to_pillow():
    difference = decode(KINDS["jpeg"], "here", fast=True).astype(int) - pillow(KINDS["jpeg"])
    assert np.abs(difference).max() > 0
    assert np.abs(difference).mean() < 8


def test_views_are_decoded_without_a_copy_of_the_file():
    assert np.array_equal(decode(memoryview(KINDS["jpeg"]), "here"), pillow(KINDS["jpeg"]))


BAD = {
    "empty": (b"", "the record is empty"),
    "text": (
        b"hello, this is no image",
        "cannot be decoded .*it is a text that begins with 'hello, this",
    ),
    "page": (b"<!DOCTYPE html><html>", "cannot be decoded .*it is an HTML page"),
    "heic": (
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "cannot be decoded .*it is a HEIC image: convert it",
    ),
    "cut": (KINDS["jpeg"][:-200], "cannot be decoded"),
    "cut in the header": (KINDS["jpeg"][:30], "cannot be decoded"),
    "cut png": (KINDS["png"][:-300], "cannot be decoded"),
    "one pixel": (stored(FACE.crop((0, 0, 1, 1)), "PNG"), "1 x 1 pixels is too small"),
    "a line": (stored(FACE.crop((0, 0, 20, 1)), "JPEG"), "20 x 1 pixels is too small"),
    "only a marker": (b"\xff\xd8\xff", "cannot be decoded"),
}


@pytest.mark.parametrize("kind", BAD)
def test_undecodable_image_is_named_with_its_position(kind):
    data, message = BAD[kind]
    with pytest.raises(DataError, match=message) as caught:
        decode(data, "a.rec, record 7")
    assert str(caught.value).startswith("a.rec, record 7: ")


def test_huge_images_are_refused_before_they_are_decoded():
    header = bytearray(KINDS["jpeg"])
    at = header.index(b"\xff\xc0") + 5
    header[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(DataError, match=r"too many|exceeds"):
        decode(bytes(header), "here")


def test_strict_refuses_damage_that_pillow_ignores():
    data = bytearray(jpeg(3, 64))
    data[len(data) // 2] = 0xFF  # a marker in the middle of the image
    data[len(data) // 2 + 1] = 0xD3
    decode(bytes(data), "here")
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(bytes(data), "here", strict=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_encoded_images_round_trip_approximately(channels):
    x = pixels(5, 32, channels)
    back = decode(encode_jpeg(x, 95), "here", colour="GRAY" if channels == 1 else "RGB")
    assert back.shape == x.shape
    assert np.abs(back.astype(int) - x).max() < 16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_nvjpeg_is_close_to_pillow():
    slope = np.indices((48, 64)).transpose(1, 2, 0) * 3
    smooth = np.concatenate([slope, 255 - slope[:, :, :1]], axis=2).astype(
        np.uint8
    )  # of noise, each makes another
    jpegs = [encode_jpeg(smooth), encode_jpeg(smooth[:, ::-1], 80)]
    for got, sent in zip(decode_batch_cuda(jpegs, "here"), jpegs, strict=True):
        assert got.device.type == "cuda"
        assert np.abs(got.cpu().permute(1, 2, 0).numpy().astype(int) - pillow(sent)).mean() < 2
