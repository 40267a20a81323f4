import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from tests.data.making import jpeg

from cdmllab.data import sniff


def example(kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("lfw.bin", "x")
    elif kind == "tar":
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("lfw.bin"))
    elif kind == "npy":
        np.save(stream, np.zeros(3))
    elif kind == "png":
        Image.new("L", (4, 4)).save(stream, "PNG")
    return stream.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
FILES = {
    "html": (b"<!DOCTYPE html>\n<html><head><title>404</title>", "an HTML page"),
    "html with a mark and blanks": (b"\xef\xbb\xbf\r\n  <HTML lang='en'>", "an HTML page"),
    "xml of a storage server": (b'<?xml version="1.0"?><Error><Code>AccessDenied', "an XML text"),
    "json error": (
        b'{"error": {"code": 403, "message": "quota"}}',
        'a JSON text that begins with \'{"error"',
    ),
    "sentence": (b"Not Found\n", "a text that begins with 'Not Found'"),
    "other alphabet": ("Файл не найден".encode(), "a text that begins with 'Файл не найден'"),
    "git lfs": (LFS, "a Git LFS pointer: `git lfs pull`"),
    "git annex": (b"/annex/objects/SHA256E-s1--ab.bin\n", "a git-annex pointer"),
    "gzip": (gzip.compress(b"x"), "a gzip file: unpack it first"),
    "zip": (example("zip"), "a zip archive"),
    "tar": (example("tar"), "a tar archive"),
    "npy": (example("npy"), "a NumPy array"),
    "png": (example("png"), "a PNG image"),
    "jpeg": (jpeg(0), "a JPEG image"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1", "a HEIC image"),
    "video": (b"\0\0\0\x18ftypisom\0\0\0\0isom", "a video"),
    "zeros": (bytes(4096), "nothing but zeros, as an unfinished download"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_under_a_wrong_name_are_recognised(kind):
    data, guess = FILES[kind]
    assert sniff.guess(data).startswith(guess)
    assert sniff.guess(memoryview(data)[: sniff.HEAD_BYTES]) == sniff.guess(data)
    assert sniff.hint(data).startswith(f": it is {guess}")


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x04\x95", bytes(range(128, 256)), b"\x07\xfe\x10\0\0ab"]
)
def test_no_guess_is_made_about_other_bytes(data):
    assert sniff.guess(data) == sniff.hint(data) == ""


def test_long_text_is_quoted_by_its_beginning():
    assert len(sniff.guess(b"word " * 500)) < 120
    assert "\n" not in sniff.guess(b"one\ntwo\n")
