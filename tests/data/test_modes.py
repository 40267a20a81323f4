"""Every row of the table of modes in `cdmllab.data.decode.decode`, from images built here.

Values marked OpenCV are what ``cv2.imread`` of OpenCV 5.0.0 gives for the same bytes.
"""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cdmllab.data.decode import decode
from cdmllab.errors import DataError

LEVELS = [[0, 255, 256, 0x80FF], [4095, 32768, 65280, 65535]]
UPPER = [[0, 0, 1, 128], [15, 128, 255, 255]]  # OpenCV


def stored(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(
    rows: list[bytes], width: int, depth: int, colour_type: int, transparent: bytes = b""
) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0))
    trns = chunk(b"tRNS", transparent) if transparent else b""
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + trns + body + chunk(b"IEND", b"")


def tiff(
    data: bytes, width: int, height: int, bits: int, *, photometric: int = 1, kind: int = 1
) -> bytes:
    """A little-endian TIFF of one strip; `kind`: 1 unsigned, 2 signed, 3 float samples."""
    tags = {
        256: width,
        257: height,
        258: bits,
        259: 1,
        262: photometric,
        273: 0,
        277: 1,
        278: height,
    }
    tags |= {279: len(data), 339: kind}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data


def packed_12_bits(rows: list[list[int]]) -> bytes:
    out = b""
    for a, b in np.array(rows).reshape(-1, 2).tolist():
        out += bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255])
    return out


def grey(data: bytes) -> list[list[int]]:
    """The levels in grey, seen to be those in colour too."""
    x = decode(data, "here", colour="GRAY")
    assert x.dtype == np.uint8
    assert np.array_equal(decode(data, "here"), np.repeat(x, 3, axis=2))
    return x[..., 0].tolist()


DEEP_GREY = {
    "png": stored(Image.fromarray(np.array(LEVELS, np.uint16)), "PNG"),
    "tiff": tiff(np.array(LEVELS, "<u2").tobytes(), 4, 2, 16),
    "big-endian tiff": stored(Image.fromarray(np.array(LEVELS, ">u2")), "TIFF"),
    "compressed tiff": stored(
        Image.fromarray(np.array(LEVELS, np.uint16)), "TIFF", compression="tiff_lzw"
    ),
    "jpeg 2000": stored(
        Image.fromarray(np.array(LEVELS, np.uint16)), "JPEG2000", irreversible=False
    ),
    "pgm": b"P5 4 2 65535\n" + np.array(LEVELS, ">u2").tobytes(),
    "text pgm": b"P2 4 2 65535\n" + " ".join(str(v) for row in LEVELS for v in row).encode(),
}


@pytest.mark.parametrize("kind", DEEP_GREY)
def test_sixteen_bit_grey_keeps_its_upper_byte(kind):
    """Pillow's own conversion gives 0, 255, 255, 255: everything above 255 is white."""
    assert grey(DEEP_GREY[kind]) == UPPER


def test_twelve_bit_levels_are_scaled_by_their_own_range():
    rows = [[0, 15, 16, 2048], [1000, 4079, 4080, 4095]]
    expected = [[0, 0, 1, 128], [62, 254, 255, 255]]
    assert grey(tiff(packed_12_bits(rows), 4, 2, 12)) == expected
    # A PGM that announces 4,095 as white; OpenCV does not scale and gives at most 15.
    pgm = decode(b"P5 4 2 4095\n" + np.array(rows, ">u2").tobytes(), "here", colour="GRAY")
    assert np.abs(pgm[..., 0].astype(int) - expected).max() <= 1
    assert pgm.max() == 255


def test_tiff_in_which_zero_is_white_is_inverted():
    """Pillow inverts 8 bits and leaves 16 as they are, a negative."""
    inverted = (255 - np.array(UPPER)).tolist()
    assert grey(tiff(np.array(LEVELS, "<u2").tobytes(), 4, 2, 16, photometric=0)) == inverted
    assert grey(tiff(bytes([0, 1, 254, 255] * 2), 4, 2, 8, photometric=0)) == [[255, 254, 1, 0]] * 2


def test_sixteen_bit_colour_keeps_its_upper_byte():
    row = struct.pack(">6H", 0x1234, 0x56FF, 0x9A00, 0, 0x00FF, 0xFFFF)
    expected = [[0x12, 0x56, 0x9A], [0, 0, 0xFF]]  # OpenCV
    assert decode(png([row, row], 2, 16, 2), "here").tolist() == [expected, expected]
    assert decode(b"P6 2 2 65535\n" + row + row, "here").astype(int)[0, 0] == pytest.approx(
        expected[0], abs=1
    )


REFUSED = {
    "float tiff": (
        tiff(np.linspace(0, 1, 8, dtype="<f4").tobytes(), 4, 2, 32, kind=3),
        "floating-point",
    ),
    "signed tiff": (tiff(np.arange(8, dtype="<i2").tobytes(), 4, 2, 16, kind=2), "no known range"),
    "32-bit tiff": (tiff(np.arange(8, dtype="<u4").tobytes(), 4, 2, 32), "no known range"),
    "transparent": (stored(Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "PNG"), "transparent all over"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("colour", ["RGB", "GRAY"])
def test_modes_without_a_white_level_are_refused_by_name(kind, colour):
    data, message = REFUSED[kind]
    with pytest.raises(DataError, match=message) as caught:
        decode(data, "p1/a.tif", colour=colour)
    assert str(caught.value).startswith("p1/a.tif: ")


def test_bilevel_is_black_and_white():
    bits = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    for data in (
        stored(bits, "PNG"),
        stored(bits, "TIFF"),
        b"P4 2 2\n" + bytes([0b01000000, 0b10000000]),
    ):
        levels = grey(data)
        assert levels in ([[0, 255], [255, 0]], [[255, 0], [0, 255]])
    assert grey(b"P4 2 2\n" + bytes([0b01000000, 0b10000000])) == [
        [255, 0],
        [0, 255],
    ]  # there 1 is black


def test_few_grey_levels_are_spread_over_the_range():
    assert grey(png([bytes([0b00011011])] * 2, 4, 2, 0)) == [[0, 85, 170, 255]] * 2
    assert grey(b"P5 4 2 3\n" + bytes([0, 1, 2, 3] * 2)) == [[0, 85, 170, 255]] * 2


PALETTE = [(0, 250, 90), (30, 220, 90), (60, 190, 90), (90, 160, 90)]


def palette() -> Image.Image:
    image = Image.fromarray(np.array([[0, 1, 2, 3]] * 2, np.uint8), "L")
    image.putpalette([level for colour in PALETTE for level in colour])
    return image


def test_palette_is_looked_up_and_its_transparent_colour_is_black():
    """OpenCV and torchvision show the colour that the palette has below it."""
    clear = [*PALETTE[:2], (0, 0, 0), PALETTE[3]]
    for kind in ("PNG", "GIF"):
        assert [tuple(v) for v in decode(stored(palette(), kind), "here")[0].tolist()] == PALETTE
        with_clear = stored(palette(), kind, transparency=2)
        assert [tuple(v) for v in decode(with_clear, "here")[0].tolist()] == clear


ALPHA = [0, 1, 64, 127, 128, 200, 254, 255]
BLENDED = [round(200 * a / 255) for a in ALPHA]


def test_alpha_is_blended_with_black():
    pixels = np.full((2, 8, 4), 200, np.uint8)
    pixels[..., 3] = ALPHA
    colour = Image.fromarray(pixels)
    two = Image.fromarray(pixels[..., 2:].copy(), "LA")
    for data in (stored(colour, "PNG"), stored(two, "PNG"), stored(colour, "TIFF")):
        assert grey(data) == [BLENDED] * 2
    assert grey(stored(colour, "WEBP", lossless=True, exact=True)) == [BLENDED] * 2


def test_colour_of_fully_transparent_pixels_is_ignored():
    """Two images that look alike and differ in what lies below the mask decode alike."""
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[:, :2, 3] = 0
    other = pixels.copy()
    other[:, :2, :3] = 17
    first, second = (decode(stored(Image.fromarray(x), "PNG"), "here") for x in (pixels, other))
    assert np.array_equal(first, second)
    assert first[:, :2].max() == 0
    assert first[:, 2:].min() == 255


def test_transparent_grey_level_is_black_in_eight_and_sixteen_bits():
    assert grey(png([bytes([7, 9])] * 2, 2, 8, 0, struct.pack(">H", 9))) == [[7, 0]] * 2
    deep = struct.pack(">2H", 0x1234, 0x1235)
    assert grey(png([deep] * 2, 2, 16, 0, struct.pack(">H", 0x1234))) == [[0, 0x12]] * 2


def test_sixteen_bit_alpha_is_blended_too():
    row = struct.pack(">4H", 0xC800, 0x8000, 0xC8FF, 0xFFFF)  # grey and alpha of two pixels
    assert grey(png([row] * 2, 2, 16, 4)) == [[round(200 * 128 / 255), 200]] * 2


def test_opaque_alpha_changes_nothing():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 4)).astype(np.uint8)
    pixels[..., 3] = 255
    assert np.array_equal(decode(stored(Image.fromarray(pixels), "PNG"), "here"), pixels[..., :3])


def test_cmyk_of_a_jpeg_is_inverted_and_of_a_tiff_not():
    ink = Image.new("CMYK", (16, 16), (40, 80, 120, 60))
    expected = np.array([165, 135, 104])  # OpenCV; 255 - c, less black's share
    for data in (stored(ink, "JPEG", quality=95), stored(ink, "TIFF")):
        assert np.abs(decode(data, "here").reshape(-1, 3) - expected).max() <= 2


def test_lab_is_converted():
    lab = decode(stored(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF"), "here")
    assert lab.min() >= 250  # the lightest grey there is


def test_first_frame_or_page_is_read():
    frames = [Image.new("RGB", (4, 4), (level,) * 3) for level in (40, 200)]
    for kind, options in (("GIF", {}), ("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        data = stored(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert grey(data) == [[40] * 4] * 4, kind


@pytest.mark.parametrize(
    "kind", ["PNG", "TIFF", "GIF", "BMP", "WEBP", "AVIF", "JPEG2000", "PPM", "MPO"]
)
def test_formats_of_photographs_are_read(kind):
    slope = np.indices((16, 16)).sum(0) * 8
    image = Image.fromarray(np.stack([slope, slope, slope], -1).astype(np.uint8))
    options = {"MPO": {"save_all": True, "append_images": [image]}}.get(kind, {})
    assert (
        np.abs(decode(stored(image, kind, **options), "here").astype(int) - slope[..., None]).mean()
        < 4
    )


@pytest.mark.parametrize("kind", ["EPS", "PDF", "ICO", "TGA", "PCX"])
def test_document_formats_and_those_without_signature_are_refused(kind):
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(stored(Image.new("RGB", (16, 16)), kind), "here")
