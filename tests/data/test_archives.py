import bz2
import gzip
import io
import lzma
import stat
import tarfile
import warnings
import zipfile

import pytest

from cdmllab.data import archives
from cdmllab.data.archives import extract, members
from cdmllab.errors import DataError

FILES = {"a/1.txt": b"one", "a/b/2.txt": b"two" * 100}


def make_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("a")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path, files, **changes):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in changes.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_archives_are_read_and_unpacked(tmp_path, make):
    path = make(tmp_path / "x.bin", FILES)
    assert dict(members(path)) == FILES
    assert dict(members(path, lambda name: name.endswith("2.txt"))) == {
        "a/b/2.txt": FILES["a/b/2.txt"]
    }
    assert extract(path, tmp_path / "out") == 2
    assert (tmp_path / "out/a/b/2.txt").read_bytes() == FILES["a/b/2.txt"]


def test_unpacking_resumes_and_repairs_incomplete_files(tmp_path):
    path = make_zip(tmp_path / "x.zip", FILES)
    extract(path, tmp_path / "out")
    whole = tmp_path / "out/a/1.txt"
    before = whole.stat().st_mtime_ns
    (tmp_path / "out/a/b/2.txt").write_bytes(b"half")
    extract(path, tmp_path / "out")
    assert (tmp_path / "out/a/b/2.txt").read_bytes() == FILES["a/b/2.txt"]
    assert whole.stat().st_mtime_ns == before


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    "name", ["../out.txt", "a/../../out.txt", "/out.txt", "C:/out.txt", "..\\out.txt"]
)
def test_names_that_lead_outside_are_refused(tmp_path, make, name):
    path = make(tmp_path / "x.bin", {"a/1.txt": b"one", name: b"evil"})
    with pytest.raises(DataError, match="leads outside"):
        extract(path, tmp_path / "deep/in")
    assert not list(tmp_path.rglob("*out.txt*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = make_tar(tmp_path / "x.tgz", {"a": b""}, type=kind, linkname="/etc/passwd")
    with pytest.raises(DataError, match="only files are unpacked"):
        extract(path, tmp_path / "out")
    assert not (tmp_path / "out/a").exists()


def test_locked_archives_are_refused(tmp_path):
    data = bytearray(make_zip(tmp_path / "x.zip", {"a/1.txt": b"one"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            data[at + offset] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(DataError, match="password"):
        extract(tmp_path / "x.zip", tmp_path / "out")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_damaged_archive_is_reported(tmp_path, make):
    path = make(tmp_path / "x.bin", FILES)
    data = path.read_bytes()
    for cut in (10, len(data) // 2, len(data) - 3):
        path.write_bytes(data[:cut])
        try:
            contents = dict(members(path))
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert contents == FILES


def test_file_that_is_not_an_archive_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        list(members(tmp_path / "none"))
    (tmp_path / "x").write_bytes(b"text")
    with pytest.raises(DataError, match="neither a zip nor a tar"):
        list(members(tmp_path / "x"))


def tarred(*members):
    """A tar of headers as they are given, each with its content."""
    stream = io.BytesIO()
    for member, content in members:
        stream.write(member.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512))
    return stream.getvalue() + bytes(1024)


def header(name, size=0, kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member


def zipped(*members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def linked():
    member = zipfile.ZipInfo("a")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped((member, "/etc/passwd"))


LARGE = 300 << 20
HOSTILE = {
    "a tar member called .": (tarred((header(".", 3), b"abc")), "a file in it has no name"),
    "a tar member without a name": (tarred((header("", 3), b"abc")), "a file in it has no name"),
    "a zip member called .": (zipped((".", b"abc")), "a file in it has no name"),
    "a long name of 1 TiB": (
        tarred((header("x", 1 << 40, tarfile.GNUTYPE_LONGNAME), b"x")),
        "of metadata",
    ),
    "a header of 1 TiB": (tarred((header("x", 1 << 40, tarfile.XHDTYPE), b"x")), "of metadata"),
    "less than nothing": (
        tarred((header("x", -512), b""), (header("y", 1), b"a")),
        "x declares -512 bytes",
    ),
    "two thousand folders": (zipped(("a/" * 2000 + "x", b"x")), "too long for a file system"),
    "a name of 300 letters": (zipped(("a" * 300, b"x")), "too long for a file system"),
    "one name twice": (zipped(("a/x", b"1"), ("a/x", b"2")), r"it has a/x twice"),
    "one name twice in a tar": (
        tarred((header("x", 1), b"1"), (header("./x", 1), b"2")),
        "it has x twice",
    ),
    "a file in place of a folder": (
        zipped(("a", b"1"), ("a/x", b"2")),
        "it has a/x twice, or as both a file and a folder",
    ),
    "a link in a zip": (linked(), "only files are unpacked"),
    "a bomb": (zipped(("x", bytes(LARGE))), "implausible"),
    "a bomb in a tar": (
        gzip.compress(tarred((header("x", LARGE), bytes(LARGE))), 1),
        "implausible",
    ),
    "a tar that promises 1 EiB": (tarred((header("x", 1 << 60), b"x")), "implausible"),
    "a line break": (zipped(("a/../\n/x", b"x")), r"its member 'a/\.\./ /x' leads outside"),
    "an xz that wants 4 GiB": (
        lzma.compress(
            tarred((header("x", 1), b"1")),
            filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 3 << 29}],
        ),
        "Memory usage limit exceeded",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_refused(tmp_path, kind):
    content, message = HOSTILE[kind]
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        extract(tmp_path / "x.bin", tmp_path / "out/deep")
    assert str(caught.value).startswith(str(tmp_path / "x.bin"))
    assert len(str(caught.value)) < 300
    with pytest.raises(DataError, match=message):
        list(members(tmp_path / "x.bin"))
    assert not [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and path.stat().st_size > 1 and path.name != "x.bin"
    ]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_compressed_archives_are_read(tmp_path, pack):
    (tmp_path / "x.bin").write_bytes(
        pack(tarred((header("a/x", 3), b"abc"), (header("b", 2), b"de")))
    )
    assert list(members(tmp_path / "x.bin")) == [("a/x", b"abc"), ("b", b"de")]


def test_tar_that_ends_in_a_zip_is_a_tar(tmp_path):
    inner = zipped(("other", b"other"))
    (tmp_path / "x.tar").write_bytes(tarred((header("inner.zip", len(inner)), inner)))
    assert [name for name, _ in members(tmp_path / "x.tar")] == ["inner.zip"]


def test_names_of_members_are_printable(tmp_path):
    (tmp_path / "x.zip").write_bytes(zipped(("Ann\nB/\x1b[2J.jpg", b"x")))
    assert [name for name, _ in members(tmp_path / "x.zip")] == ["Ann\\x0aB/\\x1b[2J.jpg"]


def test_member_read_into_memory_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_IN_MEMORY", 2)
    (tmp_path / "x.zip").write_bytes(zipped(("x", b"123")))
    with pytest.raises(DataError, match=r"x\.zip, x has 3 bytes; 2 are allowed"):
        list(members(tmp_path / "x.zip"))
    assert list(members(tmp_path / "x.zip", lambda name: name != "x")) == []
