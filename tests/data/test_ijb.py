from pathlib import Path

import numpy as np
import pytest
from tests.data.making import jpeg

from cdmllab.data import ijb
from cdmllab.data.align import TEMPLATE_112, align
from cdmllab.data.decode import decode
from cdmllab.errors import DataError

MARKS = TEMPLATE_112 * 1.1 + 4


def miniature(root: Path, name: str = "ijbc") -> Path:
    """Five images, templates 7 (two photos), 3 (a video of two frames) and 90 (one photo)."""
    rows = [("1.jpg", 7, 1), ("2.jpg", 7, 2), ("3.jpg", 3, 5), ("4.jpg", 3, 5), ("5.jpg", 90, 6)]
    meta = root / "meta"
    meta.mkdir(parents=True)
    (root / "loose_crop").mkdir()
    for k, (file, *_) in enumerate(rows):
        (root / "loose_crop" / file).write_bytes(jpeg(k, 130))
    (meta / f"{name}_face_tid_mid.txt").write_text("".join(f"{a} {b} {c}\n" for a, b, c in rows))
    points = " ".join(f"{v:.3f}" for v in MARKS.reshape(-1))
    (meta / f"{name}_name_5pts_score.txt").write_text(
        "".join(f"{a} {points} 0.{k + 1}\n" for k, (a, _, _) in enumerate(rows))
    )
    (meta / f"{name}_template_pair_label.txt").write_text("7 3 0\n90 7 1\n")
    return root


def together(text: str) -> str:
    """The points of the third image in one place."""
    rows = [line.split() for line in text.splitlines()]
    rows[2][1:11] = ["60.0"] * 10
    return "".join(" ".join(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["ijbb", "ijbc"])
def test_meta_files_become_rows(tmp_path, name):
    templates = ijb.load(miniature(tmp_path, name), name)
    assert templates.template_ids.tolist() == [3, 7, 90]
    assert templates.template.tolist() == [1, 1, 0, 0, 2]
    assert templates.media.tolist() == [1, 2, 5, 5, 6]
    assert templates.pairs.first.tolist() == [1, 2]
    assert templates.pairs.second.tolist() == [0, 1]
    assert templates.pairs.same.tolist() == [False, True]
    assert np.allclose(templates.detector_score, [0.1, 0.2, 0.3, 0.4, 0.5])


def test_images_are_aligned(tmp_path):
    templates = ijb.load(miniature(tmp_path), "ijbc")
    faces = templates.read([3, 0], size=112)
    assert faces.shape == (2, 112, 112, 3)
    assert np.array_equal(faces[1], align(decode(jpeg(0, 130), ""), templates.points[0]))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "template_pair_label",
            lambda t: t + "8 3 1\n",
            "pair 2 names template 8, which has no image",
        ),
        (
            "template_pair_label",
            lambda t: t + "7 3 2\n",
            "row 3: the label must be 0 or 1, it is 2",
        ),
        ("template_pair_label", lambda t: t + "7 3\n", "three whole numbers"),
        ("template_pair_label", lambda t: t + "7 3 x\n", "three whole numbers"),
        ("template_pair_label", lambda t: "", "is empty"),
        ("face_tid_mid", lambda t: " \n\n", "is empty"),
        ("name_5pts_score", lambda t: " \n\n", "is empty"),
        (
            "face_tid_mid",
            lambda t: t + "6.jpg 3\n",
            "row 6: expected a name and 2 numbers, got 2",
        ),
        ("face_tid_mid", lambda t: t + "6.jpg 3 x\n", "expected a name and 2 numbers per row"),
        ("face_tid_mid", lambda t: t.replace("2.jpg", "9.jpg"), "differ, first in row 2"),
        ("face_tid_mid", lambda t: t + "6.jpg 3 6\n", "differ, first in row 6"),
        ("name_5pts_score", lambda t: t.replace("0.2", "nan"), "row 2: a number is not finite"),
        ("name_5pts_score", together, r"score\.txt, row 3: the landmarks of 3\.jpg all coincide"),
    ],
)
def test_meta_files_of_another_form_are_refused(tmp_path, file, change, message):
    path = miniature(tmp_path) / f"meta/ijbc_{file}.txt"
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message):
        ijb.load(tmp_path, "ijbc")


def test_missing_files_are_named(tmp_path):
    templates = ijb.load(miniature(tmp_path), "ijbc")
    (tmp_path / "loose_crop/4.jpg").unlink()
    with pytest.raises(DataError, match=r"4\.jpg is missing, it is image 3"):
        templates.read([3])
    (tmp_path / "meta/ijbc_name_5pts_score.txt").unlink()
    with pytest.raises(DataError, match=r"ijbc_name_5pts_score\.txt does not exist"):
        ijb.load(tmp_path, "ijbc")
