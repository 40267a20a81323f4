"""Which copy a bin is: by the file, and by pixels and labels however they are packed."""

import hashlib
import pickle

import numpy as np
import pytest
from tests.data.making import jpeg, write_pack
from typer.testing import CliRunner

from cdmllab._util.files import sha256
from cdmllab.cli import app
from cdmllab.data import bins, copies, inspection
from cdmllab.evaluate import protocols

FACES = [jpeg(k) for k in range(40)]
SAME = [k % 2 == 0 for k in range(20)]


def write(path, protocol=4, faces=FACES, same=SAME):
    path.write_bytes(pickle.dumps((faces, same), protocol=protocol))
    return path


def test_digest_survives_repacking_and_detects_each_change(tmp_path):
    first = copies.of_bin(bins.read(write(tmp_path / "a.bin")))
    again = write(tmp_path / "b.bin", protocol=2)
    assert sha256(again) != sha256(tmp_path / "a.bin")
    assert copies.of_bin(bins.read(again)) == first
    bins.write_npz(tmp_path / "c.npz", bins.read(again))
    assert copies.of_bin(bins.read(tmp_path / "c.npz")) == first
    other_face = [*FACES[:-1], jpeg(99)]
    swapped = [FACES[1], FACES[0], *FACES[2:]]
    other_label = [not SAME[0], *SAME[1:]]
    for k, changed in enumerate(({"faces": other_face}, {"faces": swapped}, {"same": other_label})):
        assert copies.of_bin(bins.read(write(tmp_path / f"d{k}.bin", **changed))) != first


def test_digest_equals_a_hash_of_the_pixels():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    expected = hashlib.sha256(
        b"2x2" + image.tobytes() + np.array([1], dtype="<i8").tobytes()
    ).hexdigest()
    assert copies.content([image], [True]) == expected
    grey = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    assert copies.content([grey], [1]) == copies.content([np.repeat(grey, 3, axis=2)], [1])


def test_register_has_the_three_public_copies_of_cfp_fp():
    by_hash = {copy.sha256[:8]: copy for copy in copies.REGISTER if copy.name == "cfp_fp"}
    assert sorted(by_hash) == ["76306c78", "a8754ddf", "d47cdcfe"]
    assert copies.find("76306c78" + "0" * 56).odd
    assert (
        copies.find("a8754ddf9729a014438d00908a1dc2fe2dbdfb59db9d19a714251c2f814a94ad").bytes
        == 76_454_058
    )
    assert copies.find("0" * 64) is None


def test_inspect_names_the_copy_and_warns_of_an_odd_one(tmp_path, monkeypatch):
    path = write(tmp_path / "cfp_fp.bin")
    assert (
        inspection.inspect(path).facts["copy"]
        == "unknown; it is none of the 3 known copies of cfp_fp"
    )
    own = copies.of_bin(bins.read(path))
    file = sha256(path)
    known = (copies.Copy("cfp_fp", "1" * 64, None, own, "that of a test", False),)
    monkeypatch.setattr(copies, "REGISTER", known)
    facts = inspection.inspect(path).facts
    assert facts["copy"] == "cfp_fp 11111111, packed anew: that of a test"
    assert (facts["file SHA-256"], facts["pixels and labels SHA-256"]) == (file, own)
    monkeypatch.setattr(copies, "REGISTER", (known[0]._replace(sha256=file[:8], odd=True),))
    done = CliRunner().invoke(app, ["inspect", str(path)])
    assert f"copy: ODD, cfp_fp {file[:8]}: that of a test" in done.output


def test_inspect_gives_a_pack_its_digest(tmp_path):
    pack = write_pack(tmp_path / "pack", [0, 0, 1], images=FACES[:3])
    facts = inspection.inspect(pack).facts
    decoded = [bins.Bin(FACES[:3], np.array([]), pack).image(k) for k in range(3)]
    assert facts["pixels and labels SHA-256"] == copies.content(decoded, [0, 0, 1])
    assert "pixels and labels SHA-256" not in inspection.inspect(pack, quick=True).facts


@pytest.mark.parametrize("named", [True, False])
def test_protocol_of_a_bin_reports_its_copy(data, named):
    (data / "verification").mkdir()
    path = write(data / "verification/lfw.bin")
    loaded = protocols.load("lfw" if named else str(path), 8 if named else None)
    assert loaded.copy["content_sha256"] == copies.of_bin(bins.read(path))
    assert loaded.copy["file_sha256"] == sha256(path)
