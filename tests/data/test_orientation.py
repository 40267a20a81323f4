import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from tests.data.making import jpeg

from cdmllab.data import orientation
from cdmllab.data.decode import decode

# Exif 2.32, table 4: the visual side on which the stored 0th row and the stored 0th column lie.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}
KINDS = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95},
    "MPO": {},
}


def quarters() -> np.ndarray:
    """24 x 16 stored pixels in four quarters: levels 0 and 80 above, 160 and 240 below."""
    levels = np.array([[0, 80], [160, 240]], np.uint8)
    return np.repeat(np.kron(levels, np.ones((8, 12), np.uint8))[..., None], 3, axis=2)


def with_tag(value: int, kind: str = "JPEG", **options: object) -> bytes:
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = value
    Image.fromarray(quarters()).save(stream, kind, exif=exif, **(options or KINDS[kind]))
    return stream.getvalue()


def corner(pixels: np.ndarray, *sides: str) -> int:
    """The level in a corner of the shown image."""
    y = -3 if "bottom" in sides else 2
    x = -3 if "right" in sides else 2
    return int(pixels[y, x, 0])


OPPOSITE = {"top": "bottom", "bottom": "top", "left": "right", "right": "left"}


@pytest.mark.parametrize("value", SIDES)
@pytest.mark.parametrize("kind", KINDS)
def test_files_are_rotated_as_the_standard_defines(kind, value):
    row, column = SIDES[value]
    decoded = decode(with_tag(value, kind), "here")
    assert decoded.shape == ((16, 24, 3) if value < 5 else (24, 16, 3))
    assert corner(decoded, row, column) == pytest.approx(0, abs=9)
    assert corner(decoded, row, OPPOSITE[column]) == pytest.approx(80, abs=9)
    assert corner(decoded, OPPOSITE[row], column) == pytest.approx(160, abs=9)
    assert corner(decoded, OPPOSITE[row], OPPOSITE[column]) == pytest.approx(240, abs=9)


@pytest.mark.parametrize("value", SIDES)
@pytest.mark.parametrize("kind", KINDS)
def test_rotation_equals_pillows_bit_for_bit(kind, value):
    data = with_tag(value, kind)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert np.array_equal(decode(data, "here"), np.asarray(expected))
    assert np.array_equal(
        decode(data, "here", upright=False), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    )


def test_grey_images_are_rotated_too():
    assert decode(with_tag(6), "here", colour="GRAY").shape == (24, 16, 1)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("kind", "code"), [("B", 1), ("H", 3), ("I", 4)])
def test_tag_is_read_in_both_byte_orders_and_every_integer_type(order, kind, code):
    start = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + kind, 6).ljust(4, b"\0")
    width = struct.pack(order + "HHII", 0x0100, 3, 1, 0)
    tag = struct.pack(order + "HHI", 0x0112, code, 1) + value
    exif = start + struct.pack(order + "IH", 8, 2) + width + tag
    assert orientation.of_exif(exif) == 6
    assert orientation.of_exif(b"Exif\0\0" + exif) == 6


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_undefined_values_rotate_nothing(value):
    assert orientation.of_jpeg(with_tag(value)) == 1


def test_tag_after_other_segments_is_found():
    """Cameras write JFIF, comments or fill bytes in front of the EXIF."""
    data = with_tag(3)
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 300) + b"c" * 300
    assert orientation.of_jpeg(data[:2] + comment + b"\xff" + data[2:]) == 3


def test_image_without_a_tag_is_upright():
    assert orientation.of_jpeg(jpeg(1)) == 1
    assert orientation.of_exif(b"") == 1


@given(st.binary(max_size=200), st.integers(0, 200))
def test_damaged_exif_is_upright_or_a_value_and_never_an_error(noise, cut):
    data = with_tag(6)
    for damaged in (
        data[: cut + 2],
        data[:20] + noise,
        b"\xff\xd8" + noise,
        b"\xff\xd8\xff\xe1" + noise,
    ):
        assert 1 <= orientation.of_jpeg(damaged) <= 8
    assert 1 <= orientation.of_exif(b"II*\0" + noise) <= 8
