"""Guess what a file with the wrong name really is, for error messages.

Downloads fail in a few familiar ways: a website answers with an HTML page, a storage server with an
error in JSON or XML, `git clone` leaves a Git LFS pointer, an archive is still compressed, or a
phone writes HEIC into a ``.jpg``.
"""

HEAD_BYTES = 512  # of a file, enough for every guess below
_QUOTED = 60  # characters of a text that are quoted

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (  # offset, bytes there, name of the format
    (0, b"\x1f\x8b", "a gzip file: unpack it first"),
    (0, b"BZh", "a bzip2 file: unpack it first"),
    (0, b"\xfd7zXZ\0", "an xz file: unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file: unpack it first"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"Rar!", "a RAR archive: unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x93NUMPY", "a NumPy array (.npy)"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x0a\x23\xd7\xce", "a RecordIO file (.rec)"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"\x89PNG", "a PNG image"),
    (4, b"ftyphei", "a HEIC image: convert it to JPEG or PNG"),
    (4, b"ftyphev", "a HEIC image: convert it to JPEG or PNG"),
    (4, b"ftypmif1", "a HEIF image: convert it to JPEG or PNG"),
    (4, b"ftypavi", "an AVIF image, which this build of Pillow cannot read"),
    (4, b"ftypcrx", "a camera's raw image: convert it to JPEG or PNG"),
    # Any other brand of the same container; the order matters.
    (4, b"ftyp", "a video"),
    (
        0,
        b"version https://git-lfs.github.com/",
        "a Git LFS pointer: `git lfs pull` fetches the file itself",
    ),
    (0, b"/annex/objects/", "a git-annex pointer: `git annex get` fetches the file itself"),
)
_TEXTS: tuple[tuple[bytes, str], ...] = (  # beginning of the text in lower case, name of the format
    (b"<!doctype html", "an HTML page, saved in place of the download"),
    (b"<html", "an HTML page, saved in place of the download"),
    (b"<head", "an HTML page, saved in place of the download"),
    (b"<?xml", "an XML text"),
    (b"<", "an HTML or XML text"),
    (b"{", "a JSON text"),
)


def guess(data: bytes | memoryview) -> str:
    """The kind of file that the bytes suggest, such as ``an HTML page, ...``; empty if unknown.

    Parameters
    ----------
    data : the file's bytes, or its first `HEAD_BYTES`
    """
    head = bytes(data[:HEAD_BYTES])
    known = next((kind for at, sign, kind in _SIGNATURES if head[at : at + len(sign)] == sign), "")
    if known or not head:
        return known
    if not head.strip(b"\0"):
        return "nothing but zeros, as an unfinished download leaves them"
    return _text(head)


def hint(data: bytes | memoryview) -> str:
    """The guess as the end of a message, ``: it is an HTML page, ...``, or nothing."""
    kind = guess(data)
    return f": it is {kind}" if kind else ""


def _text(head: bytes) -> str:
    """The kind of text, with its beginning; empty if it is not text."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    # The first line, decoded as far as it is quoted; a cut character at its end becomes U+FFFD.
    line = start[:_QUOTED].decode("utf-8", "replace").splitlines()[0] if start else ""
    if not line.isprintable() or len(line) < 2 or b"\0" in head or "\ufffd" in line[:-1]:
        return ""
    kind = next((kind for begin, kind in _TEXTS if start.lower().startswith(begin)), "a text")
    return f"{kind} that begins with {line!r}"
