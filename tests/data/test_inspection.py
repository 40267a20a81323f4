import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.making import folder, jpeg, write_pack
from typer.testing import CliRunner

from cdmllab.cli import app
from cdmllab.data import bins, pack_checks, walk
from cdmllab.data.inspection import inspect
from cdmllab.errors import DataError


def test_pack_is_described(tmp_path):
    findings = inspect(write_pack(tmp_path / "p"))
    assert findings.kind == "pack"
    hashes = ("file SHA-256", "pixels and labels SHA-256")
    assert all(len(findings.facts.pop(key)) == 64 for key in hashes)
    assert findings.facts == {
        "copy": "none of its name is known",
        "records": "10",
        "header record": "yes",
        "index": "yes",
        "images": "6",
        "identities": "3",
        "images per identity": "1 to 3, median 2",
        "sizes": "16 x 16 (6)",
        "decoded": "6 of 6",
    }
    assert findings.problems == []


PROBLEMS = {
    "undecodable": (
        lambda p: write_pack(p, (0, 1), images=[jpeg(0), b"\xff\xd8\xffno"]),
        "record 2: the image",
    ),
    "sizes": (
        lambda p: write_pack(p, (0, 1), images=[jpeg(0), jpeg(1, 20)]),
        "but there are images of other sizes",
    ),
    "gap": (lambda p: write_pack(p, (0, 2)), "1 identities have no image, the first is 1"),
    "cut": (lambda p: _cut(write_pack(p, index=False)), "past the end|ends inside"),
    "property": (lambda p: _property(write_pack(p)), "property says 7 identities, the header 3"),
    "range": (
        lambda p: _range(write_pack(p)),
        r"record 8 gives identity 1 the range \[3, 9\], not \[3, 6\]",
    ),
    "label": (lambda p: write_pack(p, (0, 1.5), header=False), r"label 1\.5 of image 1"),
    "index": (
        lambda p: _index(write_pack(p, header=False), -2),
        r"train\.idx lacks 2 of the 6 records of train\.rec",
    ),
    "index of ranges": (
        lambda p: _index(write_pack(p), -1),
        "train.idx lacks 1 of the 10 records",
    ),
    "index in the middle": (
        lambda p: _index(write_pack(p, header=False), 2),
        "lacks 4 .* the first at byte",
    ),
    "record under two keys": (
        lambda p: _twice(write_pack(p, header=False)),
        "names 1 records by several keys",
    ),
    "rest of the file": (
        lambda p: _longer(write_pack(p)),
        "record 10, byte .* the file ends inside the record",
    ),
    "count": (
        lambda p: _property(write_pack(p), "3,16,16\n7\n"),
        "property says 7 images, the pack has 6",
    ),
    "orientation": (
        lambda p: write_pack(p, (0, 1), images=[jpeg(0), _turned()]),
        "1 images have an EXIF orientation",
    ),
    "checksums": (lambda p: _checksums(write_pack(p)), "2 checksums, there are 10 records"),
}


def _cut(root):
    data = (root / "train.rec").read_bytes()
    (root / "train.rec").write_bytes(data[:-9])
    return root


def _property(root, text="7,16,16"):
    (root / "property").write_text(text)
    return root


def _index(root, end):
    lines = (root / "train.idx").read_text().splitlines(keepends=True)
    (root / "train.idx").write_text("".join(lines[:end]))
    return root


def _twice(root):
    with (root / "train.idx").open("a") as file:
        file.write("6\t0\n")
    return root


def _longer(root):
    with (root / "train.rec").open("ab") as file:
        file.write(b"\x0a\x23\xd7\xce")
    return root


def _turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(1, exif=exif)


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
def test_inspect_reports_problems_of_a_pack_and_fails(tmp_path, kind):
    make, message = PROBLEMS[kind]
    result = CliRunner().invoke(app, ["inspect", str(make(tmp_path / "p"))])
    assert result.exit_code == 1
    problems = [line for line in result.stderr.splitlines() if line.startswith("wrong: ")]
    assert any(re.search(message, problem) for problem in problems), result.stderr


def test_quick_does_not_decode(tmp_path):
    root = write_pack(tmp_path / "p", (0, 1), images=[jpeg(0), b"\xff\xd8\xffno"])
    assert inspect(root, quick=True).problems == []
    assert "decoded" not in inspect(root, quick=True).facts


def test_folder_is_described_and_loose_images_are_reported(tmp_path):
    root = folder(tmp_path / "f")
    (root / "p0/0.jpg").write_bytes(b"x")
    (root / "lost.jpg").write_bytes(jpeg(1))
    findings = inspect(root)
    assert findings.facts["identities"] == "3"
    assert any("p0/0.jpg" in problem for problem in findings.problems)
    assert (
        "left out 1 (lost.jpg): an image next to the folders of people, which belongs to nobody"
        in findings.problems
    )


def test_long_lists_are_shortened(tmp_path):
    root = folder(tmp_path / "f", (30,))
    for file in (root / "p0").iterdir():
        file.write_bytes(b"x")
    assert inspect(root).problems[-1] == "... and 10 more images"


def test_unpickle_turns_a_bin_into_an_archive(tmp_path):
    bins.write(tmp_path / "a.bin", [jpeg(k) for k in range(4)], [True, False])
    result = CliRunner().invoke(app, ["unpickle", str(tmp_path / "a.bin"), str(tmp_path / "a.npz")])
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'a.npz'}: 4 images, 2 pairs\n")
    assert bins.read(tmp_path / "a.npz").images == bins.read(tmp_path / "a.bin").images
    assert "must end in .npz" in CliRunner().invoke(app, ["unpickle", "a.bin", "b.bin"]).stderr


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="neither a pack"):
        inspect(tmp_path / "a.txt")
    with pytest.raises(DataError, match="does not exist"):
        inspect(tmp_path / "b")


def test_ranges_above_the_limit_of_float32_are_compared_as_it_rounds_them():
    """Glint360K has 17,091,657 images: half of the range ends are odd, and float32 rounds them."""
    exact = np.array([[2**24 - 3, 2**24 - 1], [2**24 + 1, 2**24 + 3], [17_091_601, 17_091_658]])
    stored = np.float32(exact).astype(np.float64)
    assert stored.tolist() == [[16777213, 16777215], [16777216, 16777220], [17091600, 17091658]]
    assert not pack_checks.differ(stored, exact).any()
    assert not pack_checks.differ(exact, exact).any()  # from the packer that writes float64
    for change in ([0, 2], [-2, 0]):
        assert pack_checks.differ(stored + np.array(change), exact).all()
    assert pack_checks.differ(exact[:1] + 1, exact[:1]).all()  # exact below the limit


def test_spans_are_half_open():
    assert pack_checks.spans(np.array([0, 0, 2, 2, 2, 3]), 5).tolist() == [
        [1, 3],
        [0, 0],
        [3, 6],
        [6, 7],
        [0, 0],
    ]


def test_pack_of_insightfaces_recbuilder_is_sound(tmp_path):
    """No header; the keys begin with 0; `property` has the number of images on a second line."""
    root = write_pack(tmp_path / "p", header=False)
    (root / "property").write_text("3,16,16\n6\n")
    assert inspect(root).problems == []


def test_bin_with_an_exif_orientation_is_reported(tmp_path):
    bins.write(tmp_path / "a.bin", [jpeg(0), jpeg(0), _turned(), jpeg(2)] * 10, [True, False] * 10)
    assert [
        p
        for p in inspect(tmp_path / "a.bin").problems
        if "10 images have an EXIF orientation, the first is image 2" in p
    ]


def test_folder_reports_what_was_left_out(tmp_path):
    root = folder(tmp_path / "f", (2, 1))
    (root / "p0/up").symlink_to("..")
    for name in ("Thumbs.db", "note.txt", "a.HEIC"):
        (root / "p1" / name).write_bytes(b"x")
    findings = inspect(root)
    assert findings.facts["identities"] == "2"
    assert (
        findings.facts["left out"]
        == "1 (p1/Thumbs.db): ignored (Thumbs.db); 1 (p1/note.txt): no image (.txt)"
    )
    assert findings.problems == [
        f"left out 1 (p0/up): {walk.LINK}",
        "left out 1 (p1/a.HEIC): .heic images are not read",
    ]
    assert inspect(root, ignore=("*.heic", "up")).problems == []


def test_report_contains_everything_in_full(tmp_path):
    root = folder(tmp_path / "f", (30,))
    for file in (root / "p0").iterdir():
        file.write_bytes(b"x")
    (root / "p0/a.heic").touch()
    (root / "p0/b.raw").touch()
    report = tmp_path / "report.json"
    command = ["inspect", str(root), "--report", str(report), "--ignore", "b.*"]
    assert CliRunner().invoke(app, command).exit_code == 1
    written = json.loads(report.read_text())
    assert len(written["unread"]) == 30
    assert written["left_out"] == {
        "p0/a.heic": ".heic images are not read",
        "p0/b.raw": "ignored (b.*)",
    }
    assert written["kind"] == "folder"
    assert written["problems"][-1] == "... and 10 more images"


def test_unreadable_file_of_a_pack_is_listed_as_a_problem(tmp_path, monkeypatch):
    root = write_pack(tmp_path / "p")
    real = os.open

    def refuse(path, *arguments, **options):
        if Path(path).name == "train.rec":
            raise PermissionError(13, os.strerror(13), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert inspect(root).problems == [
        f"{root / 'train.rec'} is not a readable pack: Permission denied"
    ]


def test_damaged_report_of_a_packing_is_a_problem(tmp_path):
    root = write_pack(tmp_path / "p")
    (root / "report.json").write_text("{")
    assert any("report.json is not readable JSON" in problem for problem in inspect(root).problems)
    (root / "report.json").write_text('["of another program"]')
    assert inspect(root).problems == []


def test_file_of_unknown_kind_is_named(tmp_path):
    (tmp_path / "lfw.bin.download").write_text("<!DOCTYPE html><html>")
    with pytest.raises(DataError, match=r"neither a pack .* nor a folder: it is an HTML page"):
        inspect(tmp_path / "lfw.bin.download")
