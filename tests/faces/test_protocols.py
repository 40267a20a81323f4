import numpy as np
import pytest
import torch

from cdmllab import faces
from cdmllab.faces import protocols
from cdmllab.faces.world import RESERVED

SHAPES = {"cfp_ff": 7_000, "cfp_fp": 7_000}
PAIRED = [name for name in protocols.names() if name != "ijb"]


@pytest.mark.parametrize("name", PAIRED)
def test_protocols_have_the_published_shape_and_balanced_folds(name):
    p = protocols.load(name, size=32)
    total = SHAPES.get(name, 6_000)
    assert len(p.pairs.same) == total
    np.testing.assert_array_equal(np.bincount(p.pairs.fold), np.full(10, total // 10))
    for fold in range(10):
        assert p.pairs.same[p.pairs.fold == fold].sum() == total // 20
    assert max(p.pairs.first.max(), p.pairs.second.max()) < len(p)
    assert len(p.identity) == len(p)


@pytest.mark.parametrize("name", PAIRED)
def test_pairs_are_correct_and_unique(name):
    p = protocols.load(name, size=32)
    np.testing.assert_array_equal(
        p.identity[p.pairs.first] == p.identity[p.pairs.second], p.pairs.same
    )
    assert (p.pairs.first != p.pairs.second).all()
    ordered = {
        tuple(sorted(pair))
        for pair in zip(p.pairs.first.tolist(), p.pairs.second.tolist(), strict=True)
    }
    assert len(ordered) == len(p.pairs.same)


@pytest.mark.parametrize("name", PAIRED)
def test_folds_share_no_people(name):
    p = protocols.load(name, size=32)
    both = np.concatenate([p.identity[p.pairs.first], p.identity[p.pairs.second]]) % 100_000
    fold = np.concatenate([p.pairs.fold, p.pairs.fold])
    seen = [set(both[fold == k]) for k in range(10)]
    assert len(set.union(*seen)) == sum(map(len, seen))


@pytest.mark.parametrize("name", protocols.names())
def test_test_people_are_in_no_training_world_and_in_no_validation_part(name):
    tested, chosen = (
        set(protocols.load(name, size=32, part=part).identity) for part in ("test", "validation")
    )
    assert min(tested | chosen) >= RESERVED
    assert not tested & chosen


def test_protocols_are_kept_up_to_a_number_of_bytes(monkeypatch):
    protocols.forget()
    one, two = (protocols.load(name, size=32) for name in ("lfw", "cfp_ff"))
    assert protocols.load("lfw", size=32) is one
    monkeypatch.setattr(protocols, "KEPT_BYTES", one.nbytes + two.nbytes)
    three = protocols.load("cfp_fp", size=32)
    assert protocols.load("cfp_fp", size=32) is three
    assert protocols.load("cfp_ff", size=32) is not two
    monkeypatch.setattr(protocols, "KEPT_BYTES", 0)
    assert protocols.load("lfw", size=32) is protocols.load("lfw", size=32)


@pytest.mark.parametrize("name", protocols.names())
def test_seed_fixes_images_and_pairs(name):
    protocols.forget()
    one = protocols.load(name, size=32)
    protocols.forget()
    two, other = protocols.load(name, size=32), protocols.load(name, size=32, seed=1)
    for a, b in zip(one.pairs, two.pairs, strict=True):
        np.testing.assert_array_equal(a, b)
    rows = [5, 900, 3]
    np.testing.assert_array_equal(one.read(rows), two.read(rows))
    np.testing.assert_array_equal(one.read([3, 900]), one.read(rows)[[2, 1]])
    assert not np.array_equal(one.pairs.second, other.pairs.second)


def test_profile_pairs_are_frontal_against_profile():
    p = protocols.load("cfp_fp", size=32)
    yaw = p.nuisances.values["yaw"].abs().numpy()
    assert yaw[p.pairs.first].max() <= 12
    assert yaw[p.pairs.second].min() >= 60
    sides = p.nuisances.values["yaw"].numpy()[p.pairs.second]
    assert 0.4 < (sides > 0).mean() < 0.6


def test_cross_pose_pairs_look_to_opposite_sides():
    p = protocols.load("cplfw", size=32)
    yaw = p.nuisances.values["yaw"].numpy()
    assert yaw[p.pairs.first].min() >= 30
    assert yaw[p.pairs.second].max() <= -30


def test_age_pairs_are_half_a_life_apart():
    p = protocols.load("agedb_30", size=32)
    age = p.nuisances.values["age"].numpy()
    assert (age[p.pairs.second] - age[p.pairs.first]).min() >= 0.5 - 1e-6


def test_dose_pairs_cover_the_whole_range():
    p = protocols.load("dose_yaw", size=32)
    counts, _ = np.histogram(
        p.nuisances.values["yaw"].abs().numpy()[p.pairs.second], bins=6, range=(0, 90)
    )
    assert counts.min() > 800


def test_lookalikes_have_the_given_latent_correlation():
    for share in (0.0, 0.3, 0.6):
        recipe = protocols.ProtocolRecipe("test", images=4, lookalike=share or 1e-9)
        p = protocols.compose("test", recipe, size=32)
        impostors = ~p.pairs.same
        first, second = p._latents[p.pairs.first[impostors]], p._latents[p.pairs.second[impostors]]
        correlation = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
        assert abs(correlation - share) < 0.02


def test_templates_have_one_to_five_images_of_known_media():
    p = protocols.load("ijb", size=32)
    counts = np.bincount(p.templates.template)
    assert (counts.min(), counts.max()) == (1, 5)
    for t in range(50):
        mine = p.templates.template == t
        assert len(set(p.identity[mine])) == 1
        assert 1 <= len(set(p.templates.media[mine])) <= min(3, mine.sum())
    assert 0.0 < p.templates.detector_score.min() <= p.templates.detector_score.max() <= 1.0
    owner = p.identity[np.searchsorted(p.templates.template, np.arange(len(counts)))]
    np.testing.assert_array_equal(owner[p.pairs.first] == owner[p.pairs.second], p.pairs.same)
    assert (~p.pairs.same).sum() == 60_000


def test_frames_of_one_medium_share_light_and_age():
    p = protocols.load("ijb", size=32)
    key = p.templates.template * 8 + p.templates.media
    age = p.nuisances.values["age"].numpy()
    shared = [set(age[key == k]) for k in np.unique(key)[:200]]
    assert max(map(len, shared)) == 1
    yaw = p.nuisances.values["yaw"].numpy()
    assert max(len(set(yaw[key == k])) for k in np.unique(key)[:200]) > 1


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: protocols.load("lwf"), r"unknown lab protocol 'lwf' \(did you mean 'lfw'\?\)"),
        (
            lambda: protocols.load("lfw", part="train"),
            "part must be one of 'test', 'validation'; got 'train'",
        ),
        (lambda: protocols.load("lfw", size=20).read(0), "size must be a whole number of pixels"),
        (
            lambda: protocols.compose("x", protocols.ProtocolRecipe("x", 310)),
            "per_fold must be a multiple of 50",
        ),
        (
            lambda: protocols.compose("x", protocols.ProtocolRecipe("x", 300, images=2)),
            "at most 50 with 2 images",
        ),
        (
            lambda: protocols.compose("x", protocols.ProtocolRecipe("x", first={"yawn": (0, 1)})),
            "unknown nuisance factor 'yawn'",
        ),
    ],
)
def test_invalid_protocols_are_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_images_are_those_of_the_renderer():
    p = protocols.load("lfw", size=32)
    n = p.nuisances.pick(torch.tensor([7]))
    drawn = faces.render_latents(faces.latents(0, torch.tensor([int(p.identity[7])])), n, 32)
    np.testing.assert_array_equal(p.read(7)[0], drawn[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("name", ["cfp_fp", "ijb"])
def test_no_image_is_blank(name):
    p = protocols.load(name, size=32)
    images = p.read(np.arange(len(p)))
    assert images.reshape(len(p), -1).std(axis=1).min() > 3


@pytest.mark.parametrize(
    ("name", "images", "pairs"), [("lfw", 250, 250 * 249 // 2), ("cfp_fp", 300, 150 * 150)]
)
def test_every_pair_compares_all_images_of_a_fold_once(name, images, pairs):
    p = protocols.load(name, size=32, every_pair=True)
    np.testing.assert_array_equal(np.bincount(p.pairs.fold), np.full(10, pairs))
    of_fold = p.pairs.fold == 3
    assert len(np.unique([p.pairs.first[of_fold], p.pairs.second[of_fold]])) == images
    ordered = np.sort(np.stack([p.pairs.first, p.pairs.second]), axis=0)
    assert len(np.unique(ordered, axis=1).T) == len(p.pairs.same)
    np.testing.assert_array_equal(
        p.identity[p.pairs.first] == p.identity[p.pairs.second], p.pairs.same
    )


def test_every_pair_keeps_lookalikes_as_impostors():
    p = protocols.load("cplfw", size=32, every_pair=True)
    np.testing.assert_array_equal(
        p.identity[p.pairs.first] == p.identity[p.pairs.second], p.pairs.same
    )
    person = p.identity % 100_000
    lookalike = (person[p.pairs.first] == person[p.pairs.second]) & ~p.pairs.same
    # Every first image of each person against every image of the lookalike.
    assert lookalike.sum() == 500 * 3 * 3


def test_switching_a_factor_off_does_not_change_the_others():
    full, plain = (
        protocols.load("lfw", size=32, without=off) for off in ((), ("restyling", "roll"))
    )
    for factor, values in plain.nuisances.values.items():
        if factor in ("restyling", "roll"):
            assert not values.any()
            assert full.nuisances.values[factor].any()
        else:
            assert torch.equal(values, full.nuisances.values[factor])


def test_templates_refuse_the_options_of_pairs():
    with pytest.raises(
        ValueError, match="the protocol 'ijb' compares templates: every_pair and without do not"
    ):
        protocols.load("ijb", size=32, every_pair=True)
    with pytest.raises(ValueError, match="unknown nuisance factor 'rol'"):
        protocols.load("lfw", size=32, without=("rol",))
