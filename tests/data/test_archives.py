import io
import tarfile
import zipfile

import pytest

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
    assert dict(members(path, lambda name: name.endswith("2.txt"))) == {"a/b/2.txt": FILES["a/b/2.txt"]}
    assert extract(path, tmp_path / "out") == 2
    assert (tmp_path / "out/a/b/2.txt").read_bytes() == FILES["a/b/2.txt"]


def test_unpacking_goes_on_and_repairs_what_is_half_there(tmp_path):
    path = make_zip(tmp_path / "x.zip", FILES)
    extract(path, tmp_path / "out")
    whole = tmp_path / "out/a/1.txt"
    before = whole.stat().st_mtime_ns
    (tmp_path / "out/a/b/2.txt").write_bytes(b"half")
    extract(path, tmp_path / "out")
    assert (tmp_path / "out/a/b/2.txt").read_bytes() == FILES["a/b/2.txt"]
    assert whole.stat().st_mtime_ns == before


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/out.txt", "C:/out.txt", "..\\out.txt"])
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


def test_locked_archives_are_told(tmp_path):
    data = bytearray(make_zip(tmp_path / "x.zip", {"a/1.txt": b"one"}).read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            data[at + offset] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(DataError, match="password"):
        extract(tmp_path / "x.zip", tmp_path / "out")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_damaged_archives_are_told(tmp_path, make):
    path = make(tmp_path / "x.bin", FILES)
    data = path.read_bytes()
    for cut in (10, len(data) // 2, len(data) - 3):
        path.write_bytes(data[:cut])
        try:
            found = dict(members(path))
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert found == FILES


def test_what_is_no_archive_is_told(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        list(members(tmp_path / "none"))
    (tmp_path / "x").write_bytes(b"text")
    with pytest.raises(DataError, match="neither a zip nor a tar"):
        list(members(tmp_path / "x"))
