"""What readers of data sets are fuzzed with before it is changed: small good files, and crafted bad ones."""

import io
import pickle
import struct
from typing import Any

import numpy as np
from PIL import Image
from seeds import Files, arrays

_SIDE = 24


def _pixels(seed: int, side: int = _SIDE) -> np.ndarray:
    return (
        np.random.default_rng(seed)
        .integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
        .repeat(4, 0)
        .repeat(4, 1)
    )


def picture(kind: str = "JPEG", mode: str = "RGB", seed: int = 0, side: int = _SIDE, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(_pixels(seed, side)).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def _often(jpeg: bytes, scans: int) -> bytes:
    """A JPEG whose last scan is there again and again."""
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * scans + jpeg[-2:]


def _png_of(width: int, height: int) -> bytes:
    good = picture("PNG")
    at = good.index(b"IHDR") + 4
    return good[:at] + struct.pack(">II", width, height) + good[at + 8 :]


def images() -> list[Files]:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = [
        picture(exif=exif),
        picture(progressive=True),
        picture(mode="L"),
        picture(mode="CMYK"),
        *(picture("PNG", mode) for mode in ("RGB", "RGBA", "P", "LA", "1", "I;16")),
        *(picture("TIFF", mode) for mode in ("RGB", "I;16", "F", "L")),
        *(picture("TIFF", compression=how) for how in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        *(picture(kind) for kind in ("BMP", "WEBP", "PPM", "JPEG2000", "AVIF")),
        picture("GIF", "P", save_all=True, append_images=[Image.fromarray(_pixels(1)).convert("P")]),
        picture("MPO", save_all=True, append_images=[Image.fromarray(_pixels(1))]),
        _often(picture(progressive=True), 400),
        _png_of(60_000, 60_000),
        _png_of(7_000, 7_000),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n",
        b"P3\n7000 7000\n255\n" + b"1 " * 1000,
        b"",
    ]
    return [{"x.jpg": content} for content in found]


def bins() -> list[Files]:
    jpegs = [picture(seed=k, side=8) for k in range(4)]
    rows = [np.frombuffer(jpeg, np.uint8) for jpeg in jpegs]
    flags = [np.bool_(True), np.bool_(False)]
    text = b"".join(b"T" + struct.pack("<i", len(jpeg)) + jpeg for jpeg in jpegs)
    good = [
        *(pickle.dumps((jpegs, [True, False]), protocol) for protocol in range(6)),
        *(pickle.dumps((rows, flags), protocol) for protocol in (0, 2, 4, 5)),
        pickle.dumps(([row.copy() for row in rows], np.array([True, False])), 5),
        pickle.dumps(([_pixels(k) for k in range(4)], [1, 0]), 4),
        b"\x80\x02](" + text + b"e](\x88\x89e\x86.",  # of Python 2
    ]
    twice = b"\x94h\x00h\x00\x86"
    bad = [
        b"\x80\x04}N" + twice * 60 + b"K\x01s.",
        b"\x80\x04" + b"(" * 60 + b"K\x01\x91" * 60 + b".",
        b"\x80\x04N" + b"\x85" * 50_000 + b".",
        b"\x80\x04" + b"]" * 50_000 + b"a" * 49_999 + b".",
        b"\x80\x04\x96" + struct.pack("<Q", 8 << 30) + b"x.",
        b"\x80\x04(N" + twice * 60 + b"lN\x86.",
        b"I" + b"9" * 5000 + b"\n.",
        b"cnumpy\ndtype\n(U\x08(1,,2)f4K\x00K\x01tR.",
        b"cos\nsystem\n(S'true'\ntR.",
        pickle.dumps(([picture(side=4000, quality=1)] * 10_000, [True] * 5000)),
    ]
    found = [{"x.bin": content} for content in (*good, *bad)]
    length = np.array([len(jpeg) for jpeg in jpegs])
    plain = {"jpeg": np.concatenate(rows), "length": length, "same": np.array([True, False])}
    for change in ({}, {"length": np.array([2**62] * 4)}, {"jpeg": plain["jpeg"].astype(float)}, {"same": np.eye(2)}):
        found.append({"x.npz": arrays(**plain | change)})
    return found
