"""A network's own crop: kept with its preprocessing, and shown by protocols of aligned faces."""

import io
import tarfile
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data import miniatures
from tests.data.test_ijb import miniature as ijb_miniature

from cdmllab import backbones, preprocessing
from cdmllab.backbones import weights
from cdmllab.backbones.dlib_resnet import PREPROCESSING
from cdmllab.data import bins, ijb, lfw
from cdmllab.data.align import align, template
from cdmllab.data.crop import Box, part_of
from cdmllab.errors import CdmlLabError
from cdmllab.evaluate import cached, protocols
from cdmllab.evaluate.cropping import Cropped, side_of_whole
from cdmllab.preprocessing import INSIGHTFACE, WHOLE

SQUARE = preprocessing.crop_of(PREPROCESSING)


def test_crops_of_known_networks_are_known_pixels_of_lfw():
    assert lfw.box(SQUARE) == Box(64, 76, 186, 198)
    assert lfw.box(WHOLE) == lfw.FACE
    assert part_of(Box(0, 0, 224, 224), (10.0, 20.0, 60.0, 70.0)) == Box(20, 40, 120, 140)


def test_crop_is_kept_in_its_plain_form_and_the_full_face_is_none():
    assert preprocessing.check(INSIGHTFACE | {"crop": (0, 0, 112, 112)}) == INSIGHTFACE
    assert preprocessing.check(INSIGHTFACE | {"crop": (1, -2, 101, 98)})["crop"] == [
        1.0,
        -2.0,
        101.0,
        98.0,
    ]
    assert preprocessing.crop_of(INSIGHTFACE) == WHOLE
    assert preprocessing.usual(PREPROCESSING) == {
        **preprocessing.standard(3, 150),
        "crop": list(SQUARE),
    }
    assert preprocessing.usual(preprocessing.ADAFACE) == INSIGHTFACE


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        ((0, 0, 100, 90), "crop must be a square, got 100 x 90 pixels"),
        ((50, 50, 50, 50), "crop must be a square, got 0 x 0 pixels"),
        ((9, 9, 5, 5), "crop must be a square, got -4 x -4 pixels"),
        ((0, 0, 112), "crop must be left, top, right and bottom of a square, got"),
        ("face", "crop must be left, top, right and bottom of a square, got 'face'"),
        (None, "crop must be left, top, right and bottom of a square, got None"),
        ((0, 0, float("nan"), 112), "crop must be four finite numbers"),
        ((0, 0, "112", 112), "crop must be four finite numbers"),
    ],
)
def test_invalid_crop_is_refused(crop, message):
    with pytest.raises(ValueError, match=message):
        preprocessing.check(INSIGHTFACE | {"crop": crop})


def test_another_crop_is_another_preprocessing():
    with pytest.raises(
        ValueError, match=r"crop \[0.0, 0.0, 112.0, 112.0\] instead of \[5.0, 21.75"
    ):
        preprocessing.require(INSIGHTFACE | {"crop": SQUARE}, INSIGHTFACE, "the config")


def test_release_keeps_its_crop(tmp_path):
    net = backbones.create("small", size=16, width=4).eval()
    given = {**preprocessing.standard(3, 16), "crop": list(SQUARE)}
    weights.save_release(
        net,
        tmp_path / "a.safetensors",
        name="small",
        options={"size": 16, "width": 4},
        preprocessing=given,
    )
    assert weights.release(tmp_path / "a.safetensors").preprocessing == given


def test_lfw_is_cropped_to_the_pixels_of_the_crop(data):
    miniatures.lfw(data)
    with tarfile.open(data / "lfw/lfwa.tar.gz") as tar:
        stored = np.asarray(
            Image.open(io.BytesIO(tar.extractfile("lfwa/Person_00/Person_00_0003.jpg").read()))
        )
    faces = protocols.load("lfw/view2", 122, square=SQUARE)
    assert np.array_equal(
        faces.images.read([faces.pairs.second[0]])[0, ..., 0], stored[76:198, 64:186]
    )
    whole = protocols.load("lfw/view2", 134)
    assert np.array_equal(
        whole.images.read([whole.pairs.second[0]])[0, ..., 0], stored[50:184, 58:192]
    )
    assert faces.digest() != protocols.load("lfw/view2", 122).digest()


def test_aligned_sets_are_cropped_and_black_outside(data):
    pixels = np.random.default_rng(0).integers(1, 256, (40, 112, 112, 3), dtype=np.uint8)
    bins.write(data / "agedb_30.bin", list(pixels), [True, False] * 10)
    faces = protocols.load("agedb_30", 100, square=(2.0, 30.0, 102.0, 130.0))
    cropped = faces.images.read([5])[0]
    assert cropped.shape == (100, 100, 3)
    stored = bins.read(data / "agedb_30.bin").decoded("RGB")[5]
    assert np.array_equal(cropped[:82], stored[30:, 2:102])
    assert not cropped[82:].any()
    assert np.array_equal(
        protocols.load(
            str(data / "agedb_30.bin"), 100, square=(2.0, 30.0, 102.0, 130.0)
        ).images.read([5])[0],
        cropped,
    )
    digests = {
        protocols.load("agedb_30", 100, square=s).digest()
        for s in (None, (2.0, 30.0, 102.0, 130.0), SQUARE)
    }
    assert len(digests) == 3


def test_lab_faces_are_rendered_large_enough_for_their_crop():
    assert side_of_whole(SQUARE, 150) == 165
    square = (16.0, 24.0, 72.0, 80.0)
    part, whole = protocols.load("lab/lfw", 32, square=square), protocols.load("lab/lfw", 64)
    rows = [0, 9]
    expected = whole.images.read(rows)[:, 14:46, 9:41]
    assert np.array_equal(part.images.read(rows), expected)
    assert part.nuisances.keys() == whole.nuisances.keys()
    assert np.array_equal(part.pairs.first, whole.pairs.first)


def test_ijb_is_aligned_to_the_crop(data):
    """Cut out of an alignment at twice the size or aligned to the part at once: the same faces."""
    marks = template(112, SQUARE) * (102 / 112)
    np.testing.assert_allclose(marks, template(112) - [5.0, 21.75], atol=1e-9)
    ijb_miniature(data / "ijbc", "ijbc")
    templates = ijb.load(data / "ijbc", "ijbc")
    cropped = (
        protocols.load("ijbc", 112, square=(0.0, 56.0, 56.0, 112.0)).images.read([0])[0].astype(int)
    )
    pixels = np.asarray(Image.open(data / "ijbc/loose_crop" / templates.names[0]).convert("RGB"))
    expected = align(pixels, templates.points[0], 224)[112:, :112].astype(int)
    assert np.abs(cropped - expected).mean() < 2.0
    plain = protocols.load("ijbc", 112)
    assert np.array_equal(plain.images.read([0])[0], align(pixels, templates.points[0], 112))


@pytest.mark.parametrize(
    "name", ["digits/known", "digits/strangers", "att_faces", "omniglot/strangers"]
)
def test_unaligned_protocols_refuse_a_crop(name):
    with pytest.raises(
        CdmlLabError,
        match=f"needs the square 5, 21.75, 107, 123.75 .* protocol {name} are not aligned",
    ):
        protocols.load(name, 32, square=SQUARE)


def test_full_face_as_a_crop_is_no_crop():
    plain = protocols.load("digits/known", 8)
    assert protocols.load("digits/known", 8, square=WHOLE).digest() == plain.digest()


def test_non_square_images_are_reported(tmp_path):
    pixels = np.zeros((4, 12, 10, 1), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", images=pixels, first=[0, 1], second=[2, 3], same=[True, False])
    images = protocols.load(str(tmp_path / "own.npz"), 16, square=SQUARE).images
    assert isinstance(images, Cropped)
    with pytest.raises(ValueError, match=r"only square images of aligned faces .* got 12 x 10"):
        images.read([0])


def test_evaluation_gives_a_network_its_crop(data, tmp_path):
    miniatures.lfw(data)
    torch.manual_seed(0)
    net = backbones.create("small", size=16, width=4, embedding_dim=8).eval()
    usual = preprocessing.standard(3, 16)
    judged = partial(cached.evaluate, net, "lfw/view2", tmp_path, cached.Settings(replicates=0))
    whole, protocol, _ = judged(prepare=usual)
    part, cut, before = judged(prepare=usual | {"crop": list(SQUARE)})
    assert not before
    assert (part.scores != whole.scores).any()
    assert part.measures.made_with.preprocessing["crop"] == list(SQUARE)
    assert (cut.images.read([0]) != protocol.images.read([0])).any()
    assert judged(prepare=usual | {"crop": list(SQUARE)})[2]
