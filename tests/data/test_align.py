import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.making import pixels

from cdmllab.data.align import (
    TEMPLATE_112,
    align,
    landmarks_by_image,
    read_landmarks,
    similarity,
    template,
    warp,
)
from cdmllab.errors import DataError


@given(st.floats(-3.1, 3.1), st.floats(0.2, 5), st.floats(-200, 200), st.floats(-200, 200))
def test_similarity_recovers_the_transform(angle, scale, x, y):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    transform = similarity(TEMPLATE_112, TEMPLATE_112 @ turn.T + [x, y])
    assert np.allclose(transform, np.column_stack([turn, [x, y]]), atol=1e-8)


def test_similarity_is_the_least_squares_one():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(2, 5, 2))
    best = similarity(source, target)

    def error(m):
        return ((source @ m[:, :2].T + m[:, 2] - target) ** 2).sum()

    for _ in range(200):
        a, b, x, y = rng.normal(scale=0.05, size=4)
        other = best + np.array([[a, -b, x], [b, a, y]])
        assert error(other) > error(best)


def test_template_follows_the_rule_of_sizes():
    right = np.array([8.0, 0.0])
    assert np.array_equal(template(112), TEMPLATE_112)
    assert np.allclose(template(224), 2 * TEMPLATE_112)
    assert np.allclose(template(128), TEMPLATE_112 + right)
    assert np.allclose(template(256), 2 * (TEMPLATE_112 + right))
    assert np.allclose(template(56), TEMPLATE_112 / 2)


def test_warp_by_integer_pixels_is_a_copy_and_black_outside():
    x = pixels(1, 20)
    out = warp(x, [[1, 0, -3], [0, 1, 4]], 20)
    assert np.array_equal(out[4:, :-3], x[:-4, 3:])
    assert out[:4].max() == out[:, -3:].max() == 0


def test_warp_turns_about_pixel_centres():
    x = pixels(1, 9, 1)
    out = warp(
        x, [[0, -1, 8], [1, 0, 0]], 9
    )  # (x, y) -> (8 - y, x): a quarter turn clockwise as one sees it
    assert np.array_equal(out, np.rot90(x, -1))


def test_aligned_landmarks_match_the_template():
    """Dots at the landmarks of a rotated and scaled face are moved to those of the template."""
    turn = 1.7 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    marks = TEMPLATE_112 @ turn.T + [90, 20]
    face = np.zeros((300, 300, 1), np.uint8)
    y, x = np.mgrid[:300, :300]
    for mark in marks:
        spot = np.exp(-((x - mark[0]) ** 2 + (y - mark[1]) ** 2) / 18)
        face = np.maximum(face, np.round(255 * spot).astype(np.uint8)[..., None])
    out = align(face, marks)[..., 0].astype(float)
    y, x = np.mgrid[:112, :112]
    for point in TEMPLATE_112:
        near = out * (np.hypot(x - point[0], y - point[1]) < 7)
        centre = np.array([(near * x).sum(), (near * y).sum()]) / near.sum()
        assert np.abs(centre - point).max() < 0.15


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (np.zeros((5, 2)), "all coincide"),
        (np.full((5, 2), np.nan), "not finite"),
        (np.zeros((4, 2)), "share a shape"),
    ],
)
def test_degenerate_landmarks_are_refused(marks, message):
    with pytest.raises(ValueError, match=message):
        align(pixels(1, 20), marks)


def test_landmark_files_and_folders_are_read(tmp_path):
    row = " ".join(str(v) for v in range(10))
    (tmp_path / "marks.txt").write_text(f"A/1.jpg {row}\n\nB/2.jpg {row} 0.99\n")
    marks = read_landmarks(tmp_path / "marks.txt")
    assert list(marks) == ["A/1.jpg", "B/2.jpg"]
    assert marks["B/2.jpg"][1].tolist() == [2, 3]
    (tmp_path / "each").mkdir()
    (tmp_path / "each/A_0001_5loc_attri.txt").write_text("0 1\n2 3\n4 5\n6 7\n8 9\n")
    each = read_landmarks(tmp_path / "each")
    matched = landmarks_by_image(["images/A_0001.jpg", "images/A_0002.jpg"], each, "each")
    assert list(matched) == ["images/A_0001.jpg"]
    assert matched["images/A_0001.jpg"][4].tolist() == [8, 9]


@pytest.mark.parametrize(
    "line", ["A/1.jpg 1 2 3", "A/1.jpg " + "x " * 10, "A/1.jpg " + "nan " * 10, ""]
)
def test_landmark_files_of_another_form_are_refused(tmp_path, line):
    (tmp_path / "marks.txt").write_text(line)
    with pytest.raises(DataError, match=r"marks\.txt"):
        read_landmarks(tmp_path / "marks.txt")


NUMBERS = " ".join(str(v) for v in range(10))


def read(tmp_path, text):
    (tmp_path / "marks.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_landmarks(tmp_path / "marks.txt")


@pytest.mark.parametrize(
    "line",
    [
        f'"Ann Lee/1 a.jpg" {NUMBERS}',
        f"Ann Lee/1 a.jpg\t{NUMBERS}",
        "Ann Lee/1 a.jpg\t" + NUMBERS.replace(" ", "\t"),
        f"Ann Lee/1 a.jpg\t{NUMBERS} 0.99\r",
    ],
)
def test_names_with_spaces_are_quoted_or_followed_by_a_tab(tmp_path, line):
    marks = read(tmp_path, f"\ufeffB/2.jpg {NUMBERS}\r\n{line}\n")
    assert list(marks) == ["B/2.jpg", "Ann Lee/1 a.jpg"]
    assert marks["Ann Lee/1 a.jpg"].tolist() == np.arange(10).reshape(5, 2).tolist()


def test_name_with_spaces_alone_is_refused_with_the_remedy(tmp_path):
    message = (
        r"marks\.txt, line 3: expected five points .*; a name with spaces must be in double quotes "
        "or followed by a tab"
    )
    with pytest.raises(DataError, match=message):
        read(tmp_path, f"B/2.jpg {NUMBERS}\n\nAnn Lee/1.jpg {NUMBERS}\n")


def test_names_in_invalid_utf8_are_read_as_the_file_system_has_them(tmp_path):
    assert list(read(tmp_path, b"M\xfcller/1.jpg " + NUMBERS.encode())) == ["M\\xfcller/1.jpg"]


def test_image_with_two_rows_is_refused(tmp_path):
    message = r"marks\.txt, line 4: the landmarks of A/1\.jpg are also in .*marks\.txt, line 1"
    with pytest.raises(DataError, match=message):
        read(tmp_path, f"A/1.jpg {NUMBERS}\n\nB/1.jpg {NUMBERS}\nA/1.jpg {NUMBERS}\n")
    (tmp_path / "each").mkdir()
    for name in ("A_0001_5loc_attri.txt", "A_0001.txt"):
        (tmp_path / "each" / name).write_text("0 1\n2 3\n4 5\n6 7\n8 9\n")
    with pytest.raises(
        DataError,
        match=r"A_0001_5loc_attri\.txt: the landmarks of A_0001 are also in .*A_0001\.txt",
    ):
        read_landmarks(tmp_path / "each")


def test_macos_files_in_a_folder_of_landmarks_are_skipped(tmp_path):
    (tmp_path / "A_0001.txt").write_text("0 1\n2 3\n4 5\n6 7\n8 9\n")
    (tmp_path / "._A_0001.txt").write_bytes(b"\0\5\x16\7\xff")
    assert list(read_landmarks(tmp_path)) == ["A_0001"]


@pytest.mark.parametrize("key", ["1.jpg", "1"])
def test_file_name_that_matches_two_people_is_refused(key):
    known = {key: TEMPLATE_112}
    assert list(landmarks_by_image(["A/1.jpg", "B/2.jpg"], known, "marks.txt")) == ["A/1.jpg"]
    with pytest.raises(DataError, match=rf"marks\.txt: '{key}' matches both A/1\.jpg and B/1\.jpg"):
        landmarks_by_image(["A/1.jpg", "B/1.jpg"], known, "marks.txt")


def test_path_comes_before_the_file_name():
    known = {"A/1.jpg": TEMPLATE_112, "B/1": TEMPLATE_112 + 1, "1.jpg": TEMPLATE_112 + 2}
    matched = landmarks_by_image(["A/1.jpg", "B/1.jpg", "C/1.jpg", "C/2.jpg"], known, "marks.txt")
    assert {name: points[0, 0] - TEMPLATE_112[0, 0] for name, points in matched.items()} == {
        "A/1.jpg": 0,
        "B/1.jpg": 1,
        "C/1.jpg": 2,
    }
