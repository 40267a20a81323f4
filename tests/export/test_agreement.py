import numpy as np
import pytest

from cdmllab import faces
from cdmllab.data import pairs
from cdmllab.errors import CdmlLabError
from cdmllab.export import images
from cdmllab.export.agreement import compare
from cdmllab.faces.world import RESERVED

PAIRS = pairs.sample(np.repeat(np.arange(8), 6), per_fold=6, folds=10)
RNG = np.random.default_rng(0)
FACES = (np.repeat(np.eye(8), 6, axis=0) + 0.3 * RNG.normal(size=(48, 8))).astype(np.float32)
NOISE = RNG.normal(size=(5, 8)).astype(np.float32)
LIMITS = {"cosine_min": 0.9999, "cosine_mean": 0.9999, "drop_points": 0.5}


def test_equal_directions_agree_exactly_whatever_their_length():
    same = compare((FACES, NOISE), (FACES * 2, NOISE * 2), PAIRS)
    assert same.faces_cosine_min == pytest.approx(1.0)
    assert same.noise_cosine_min == pytest.approx(1.0)
    assert same.length_error_max == pytest.approx(1.0)
    assert same.drop_points == 0.0
    same.require(**LIMITS)


def test_one_wrong_image_is_found():
    spoilt = FACES.copy()
    spoilt[17] = -spoilt[17]
    agreement = compare((FACES, NOISE), (spoilt, NOISE), PAIRS)
    assert agreement.faces_cosine_min == pytest.approx(-1.0)
    assert agreement.faces_cosine_mean == pytest.approx(1 - 2 / 48)
    with pytest.raises(CdmlLabError, match=r"smallest cosine -1\.00000 is below 0\.9999"):
        agreement.require(**LIMITS)


def test_wrong_noise_is_found():
    agreement = compare((FACES, NOISE), (FACES, NOISE[::-1]), PAIRS)
    with pytest.raises(CdmlLabError, match="smallest cosine"):
        agreement.require(**LIMITS)


def test_lost_accuracy_is_reported_in_points():
    blurred = FACES + 0.8 * RNG.normal(size=FACES.shape).astype(np.float32)
    agreement = compare((FACES, NOISE), (blurred, NOISE), PAIRS)
    assert agreement.drop_points == pytest.approx(
        100 * (agreement.accuracy_before - agreement.accuracy_after)
    )
    assert agreement.drop_points > 1
    with pytest.raises(CdmlLabError, match=r"loses .* points of verification accuracy"):
        agreement.require(cosine_min=-1, cosine_mean=-1, drop_points=0.5)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ((FACES[:, :4], NOISE), r"shape \(48, 4\), PyTorch \(48, 8\)"),
        (
            (np.full_like(FACES, np.nan), NOISE),
            "cannot be compared: the embedding of image 0 is zero or not finite",
        ),
    ],
)
def test_embeddings_of_another_kind_are_refused(after, message):
    with pytest.raises(CdmlLabError, match=message):
        compare((FACES, NOISE), after, PAIRS)


def test_protocol_has_the_shape_of_lfw_and_follows_its_seed():
    one, again, other = (
        images.protocol(4, 32),
        images.protocol(4, 32),
        images.protocol(4, 32, seed=1),
    )
    assert one.images.shape == (24, 3, 32, 32)
    assert np.array_equal(one.images, again.images)
    assert not np.array_equal(one.images, other.images)
    assert one.pairs.same.sum() * 2 == len(one.pairs.same) == 120
    assert set(one.pairs.fold) == set(range(10))
    person = np.arange(24) // 6
    assert np.array_equal(person[one.pairs.first] == person[one.pairs.second], one.pairs.same)


def test_people_of_the_protocol_are_in_no_other_data(monkeypatch):
    """Not those of worlds to train on, of lab/* and lab-validation/*, nor of the calibration."""
    rendered = []
    monkeypatch.setattr(images, "_render", lambda who, *rest: rendered.append(set(who.tolist())))
    images.protocol(100, 32)
    images.calibration(256, 32)
    judged, calibrated = rendered
    assert len(judged) == 100
    for part in ("test", "validation"):
        lab = faces.protocols.load("calfw", size=32, part=part)
        assert not (judged | calibrated) & set(lab.identity.tolist())
    assert min(judged) >= RESERVED > max(calibrated)
    assert min(calibrated) >= 200_000


@pytest.mark.parametrize("size", [8, 32, 250])
def test_calibration_images_have_the_requested_size(size):
    drawn = images.calibration(2, size)
    assert drawn.shape == (2, 3, size, size)
    assert drawn.float().std() > 10
