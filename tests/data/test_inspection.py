import re

import numpy as np
import pytest
from making import folder, jpeg, write_pack
from typer.testing import CliRunner

from cdmllab.cli import app
from cdmllab.data import bins
from cdmllab.data.inspection import inspect
from cdmllab.errors import DataError


def test_pack_is_described(tmp_path):
    found = inspect(write_pack(tmp_path / "p"))
    assert found.kind == "pack"
    assert found.facts == {
        "records": "10",
        "header record": "yes",
        "index": "yes",
        "pictures": "6",
        "identities": "3",
        "pictures an identity": "1 to 3, median 2",
        "sizes": "16 x 16 (6)",
        "decoded": "6 of 6",
    }
    assert found.problems == []


PROBLEMS = {
    "undecodable": (lambda p: write_pack(p, (0, 1), images=[jpeg(0), b"\xff\xd8\xffno"]), "record 2: the picture"),
    "sizes": (lambda p: write_pack(p, (0, 1), images=[jpeg(0), jpeg(1, 20)]), "pictures of other sizes"),
    "gap": (lambda p: write_pack(p, (0, 2)), "1 identities have no picture, the first is 1"),
    "cut": (lambda p: _cut(write_pack(p, index=False)), "past the end|ends inside"),
    "property": (lambda p: _property(write_pack(p)), "property says 7 identities, the header 3"),
    "range": (lambda p: _range(write_pack(p)), r"record 8 gives identity 1 the range \[3, 9\], not \[3, 6\]"),
    "label": (lambda p: write_pack(p, (0, 1.5), header=False), r"label 1\.5 of picture 1"),
    "checksums": (lambda p: _checksums(write_pack(p)), "2 checksums, there are 10 records"),
}


def _cut(root):
    data = (root / "train.rec").read_bytes()
    (root / "train.rec").write_bytes(data[:-9])
    return root


def _property(root):
    (root / "property").write_text("7,16,16")
    return root


def _range(root):
    data = (root / "train.rec").read_bytes()
    old, new = (np.array([3.0, end], "<f4").tobytes() for end in (6.0, 9.0))
    assert data.count(old) == 1
    (root / "train.rec").write_bytes(data.replace(old, new))
    return root


def _checksums(root):
    (root / "train.crc").write_bytes(b"12345678")
    return root


@pytest.mark.parametrize("kind", PROBLEMS)
def test_what_is_wrong_with_a_pack_is_told_and_fails(tmp_path, kind):
    make, said = PROBLEMS[kind]
    result = CliRunner().invoke(app, ["inspect", str(make(tmp_path / "p"))])
    assert result.exit_code == 1
    problems = [line for line in result.stderr.splitlines() if line.startswith("wrong: ")]
    assert any(re.search(said, problem) for problem in problems), result.stderr


def test_quick_does_not_decode(tmp_path):
    root = write_pack(tmp_path / "p", (0, 1), images=[jpeg(0), b"\xff\xd8\xffno"])
    assert inspect(root, quick=True).problems == []
    assert "decoded" not in inspect(root, quick=True).facts


def test_folder_is_described_and_loose_pictures_are_told(tmp_path):
    root = folder(tmp_path / "f")
    (root / "p0/0.jpg").write_bytes(b"x")
    (root / "lost.jpg").write_bytes(jpeg(1))
    found = inspect(root)
    assert found.facts["identities"] == "3"
    assert any("p0/0.jpg" in problem for problem in found.problems)
    assert "left out 1 (lost.jpg): an image beside the folders of people, which belongs to nobody" in found.problems


def test_long_lists_are_cut(tmp_path):
    root = folder(tmp_path / "f", (30,))
    for file in (root / "p0").iterdir():
        file.write_bytes(b"x")
    assert inspect(root).problems[-1] == "... and 10 more pictures"


def test_unpickle_turns_a_bin_into_an_archive(tmp_path):
    bins.write(tmp_path / "a.bin", [jpeg(k) for k in range(4)], [True, False])
    result = CliRunner().invoke(app, ["unpickle", str(tmp_path / "a.bin"), str(tmp_path / "a.npz")])
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'a.npz'}: 4 pictures, 2 pairs\n")
    assert bins.read(tmp_path / "a.npz").images == bins.read(tmp_path / "a.bin").images
    assert "must end in .npz" in CliRunner().invoke(app, ["unpickle", "a.bin", "b.bin"]).stderr


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="neither a pack"):
        inspect(tmp_path / "a.txt")
    with pytest.raises(DataError, match="does not exist"):
        inspect(tmp_path / "b")
