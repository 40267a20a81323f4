"""Finding and cropping faces in photos of every kind."""

import io
import sys

import numpy as np
import pytest
from PIL import Image
from tests.photos.making import Dots, dotted, faces, on_ground, scaled

from cdmllab.data.align import TEMPLATE_112, align
from cdmllab.data.decode import decode
from cdmllab.errors import CdmlLabError, DataError, MissingPackageError
from cdmllab.photos import detectors, finding, scrfd, yunet
from cdmllab.photos.album import usable
from cdmllab.photos.faces import Face, largest_first
from cdmllab.photos.mtcnn import Mtcnn

POINTS = np.array([[30.0, 40.0], [60.0, 42.0], [44.0, 60.0], [33.0, 75.0], [57.0, 77.0]])


@pytest.fixture(scope="module")
def mtcnn():
    return Mtcnn()


def face_of(left, top, right, bottom, eyes_px=30.0):
    five = np.array([[0, 0], [eyes_px, 0], [15, 20], [2, 40], [28, 40]], dtype=float)
    return Face(np.array([left, top, right, bottom], dtype=float), five, 1.0)


# MTCNN on rendered faces, whose landmarks are known


def test_landmarks_of_a_rendered_face_are_where_the_head_has_them(mtcnn):
    """A frontal head: its eyes are 0.564 half heights apart at 0.015, in a view of 1.3 each way."""
    seen = finding.look(faces()[0, 0], mtcnn)
    (face,) = seen.faces
    middle = (face.landmarks[0] + face.landmarks[1]) / 2
    unit = 128 / 2.6
    assert seen.turned == 0
    assert face.confidence > 0.99
    assert face.eyes_px == pytest.approx(0.564 * unit, abs=4.0)
    assert middle == pytest.approx([63.5, 63.5 - 0.015 * unit], abs=5.0)
    assert face.landmarks[0, 0] < face.landmarks[1, 0]  # left as seen comes first
    assert face.landmarks[3:, 1].min() > face.landmarks[2, 1] > face.landmarks[:2, 1].max()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_rotated_photo_is_rotated_back_and_its_face_cropped_upright(mtcnn, quarters):
    photo = on_ground(faces()[1, 0])
    upright = finding.look(photo, mtcnn)
    seen = finding.look(np.ascontiguousarray(np.rot90(photo, -quarters)), mtcnn)
    assert seen.turned == 90 * quarters
    first = finding.cut_out(photo, upright.faces[0]).astype(int)
    second = finding.cut_out(np.rot90(photo, -quarters), seen.faces[0]).astype(int)
    assert np.abs(first - second).mean() < 2.0


def test_photo_rotated_by_its_exif_needs_no_rotation(mtcnn):
    photo = Image.fromarray(np.rot90(on_ground(faces()[1, 0])))
    exif = photo.getexif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=95, exif=exif)
    seen = finding.look(decode(file.getvalue(), "photo"), mtcnn)
    assert (len(seen.faces), seen.turned) == (1, 0)


def test_a_grey_photo_has_a_face(mtcnn):
    file = io.BytesIO()
    Image.fromarray(on_ground(faces()[2, 0])).convert("L").save(file, "PPM")
    assert len(finding.look(decode(file.getvalue(), "grey.pgm"), mtcnn).faces) == 1


def test_several_faces_come_largest_first(mtcnn):
    photo = on_ground(scaled(faces()[0, 0], 90), faces()[1, 0], scaled(faces()[2, 0], 60))
    largest_first = finding.look(photo, mtcnn).faces
    assert len(largest_first) == 3
    assert [int(face.box[0] + face.box[2]) // 2 for face in largest_first] == pytest.approx(
        [214, 65, 348], abs=12
    )


@pytest.mark.parametrize("shape", [(2, 2), (19, 400), (20, 20), (240, 320)])
def test_no_face_is_found_in_a_photo_without_one(mtcnn, shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert finding.look(noise, mtcnn) == ([], 0)


def test_failing_detector_is_reported_in_one_sentence(mtcnn):
    with pytest.raises(DataError, match=r"^MTCNN fails on this image"):
        mtcnn.find(np.zeros((64, 64, 2), dtype=np.uint8))


# Shrinking, turning and cutting out, with dots for landmarks


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("scale", [1, 5])
def test_landmarks_come_back_in_pixels_of_the_photo(quarters, scale, monkeypatch):
    monkeypatch.setattr(finding, "LONGEST_PX", 250)
    height, width = 100 * scale, 90 * scale
    points = (POINTS + 0.5) * scale - 0.5
    photo = np.rot90(dotted(points, height, width, 3.0 * scale), -quarters)
    detector = Dots()
    seen = finding.look(np.ascontiguousarray(photo), detector)
    assert seen.turned == 90 * quarters
    assert max(max(shape) for shape in detector.shown) <= finding.LONGEST_PX
    turned = points.copy()
    shape = [height, width]
    for _ in range(quarters):  # clockwise: (x, y) goes to (height - 1 - y, x)
        turned = np.stack([shape[0] - 1 - turned[:, 1], turned[:, 0]], axis=1)
        shape.reverse()
    assert seen.faces[0].landmarks == pytest.approx(turned, abs=0.6 * scale)
    left, top, right, bottom = seen.faces[0].box
    assert left < right
    assert top < bottom


def test_no_rotation_is_tried_when_disabled():
    photo = np.ascontiguousarray(np.rot90(dotted(POINTS, 100, 90, 3.0)))
    assert finding.look(photo, Dots(), turn=False).faces == []


def test_a_small_face_is_cut_out_as_alignment_does_it():
    photo = on_ground(faces()[0, 0])
    face = Face(np.zeros(4), POINTS + 40.0, 1.0)
    assert (finding.cut_out(photo, face) == align(photo, face.landmarks)).all()


@pytest.mark.parametrize("square", [None, (5.0, 21.75, 107.0, 123.75)])
def test_a_large_face_is_averaged_and_lands_in_the_same_place(square):
    """Ten times the template: alternating columns become grey, and dots stay on the template."""
    landmarks = TEMPLATE_112 * 10 + [300, 200]
    photo = dotted(landmarks, 1700, 1900, 40.0)
    cut = finding.cut_out(photo, Face(np.zeros(4), landmarks, 1.0), 112, square)
    (face,) = Dots().find(cut)
    left, top, right, _ = square or (0.0, 0.0, 112.0, 112.0)
    expected = (TEMPLATE_112 - [left, top]) * 112 / (right - left)
    assert face.landmarks == pytest.approx(expected, abs=0.7)
    stripes = np.full((1600, 1600, 3), 0, dtype=np.uint8)
    stripes[:, ::2] = 255
    flat = finding.cut_out(stripes, Face(np.zeros(4), TEMPLATE_112 * 10 + 200, 1.0))
    assert flat.std() < 3.0
    assert flat.mean() == pytest.approx(127.5, abs=2.0)


def test_a_face_at_the_edge_is_cut_out_with_black_outside():
    landmarks = TEMPLATE_112 * 4 - [200, 0]
    cut = finding.cut_out(np.full((500, 300, 3), 200, np.uint8), Face(np.zeros(4), landmarks, 1.0))
    assert (cut[:, :45] == 0).all()
    assert (cut[:, 56:] == 200).all()


def test_faces_that_are_too_small_are_refused_with_their_size():
    small, large = face_of(0, 0, 9, 9, 6.0), face_of(0, 0, 50, 50)
    assert usable([large, small]) == [large]
    with pytest.raises(
        DataError, match=r"6\.0 pixels between the eyes, fewer than the minimum of 10"
    ):
        usable([small])
    assert usable([small], 6.0) == [small]
    with pytest.raises(DataError, match="no face was found"):
        usable([])


# The other back ends


def test_largest_first_goes_by_area():
    tall, wide, small = face_of(0, 0, 10, 50), face_of(0, 0, 30, 20), face_of(5, 5, 9, 9)
    assert largest_first([small, tall, wide]) == [wide, tall, small]


def test_rows_of_opencv_become_faces():
    """Left, top, width, height; the person's right eye, on the left of the image, is first."""
    (face,) = yunet.faces_of([[10, 20, 30, 40, 15, 30, 33, 31, 24, 42, 17, 52, 31, 53, 0.93]])
    assert face.box.tolist() == [10, 20, 40, 60]
    assert face.landmarks.tolist() == [[15, 30], [33, 31], [24, 42], [17, 52], [31, 53]]
    assert face.confidence == 0.93


def test_boxes_of_insightface_become_faces():
    (face,) = scrfd.faces_of([[10, 20, 40, 60, 0.8]], [POINTS])
    assert face.box.tolist() == [10, 20, 40, 60]
    assert (face.landmarks == POINTS).all()
    assert face.confidence == 0.8


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("yunet", "cv2", r"^YuNet needs OpenCV, .*pip install opencv-python-headless$"),
        ("scrfd", "insightface.model_zoo", r"^SCRFD needs insightface.* pip install insightface"),
        ("mtcnn", "facenet_pytorch", r'^finding faces with MTCNN needs .*"cdmllab\[photos\]"$'),
    ],
)
def test_missing_package_of_a_detector_is_named(name, module, message, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=message):
        detectors.create(name, None if name == "mtcnn" else tmp_path)


def test_detectors_are_created_with_their_requirements(tmp_path):
    with pytest.raises(CdmlLabError, match="no detector 'mtcn' \\(did you mean 'mtcnn'\\?\\)"):
        detectors.create("mtcn")
    with pytest.raises(CdmlLabError, match="yunet needs its model file: --detector-model"):
        detectors.create("yunet")
    with pytest.raises(CdmlLabError, match="MTCNN includes its weights"):
        detectors.create("mtcnn", tmp_path)
