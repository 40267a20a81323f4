import itertools
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from cdmllab import faces

WHO = torch.arange(9)


def _distance(a, b):
    return (a.float() - b.float()).abs().mean().item()


@pytest.mark.parametrize("size", [32, 112])
def test_render_is_the_same_in_every_batch(size):
    together = faces.render(WHO, index=3, size=size, strength=1.0)
    for i in (0, 4, 8):
        alone = faces.render(int(WHO[i]), index=3, size=size, strength=1.0)
        assert torch.equal(alone[0], together[i])
    assert torch.equal(
        faces.render(WHO.flip(0), index=3, size=size, strength=1.0).flip(0), together
    )


def test_render_is_the_same_in_every_process():
    code = (
        "import torch; torch.manual_seed(5); from cdmllab import faces;"
        "print(int((faces.render([2, 7], index=1, size=48, strength=.65).long() * "
        "torch.arange(48)).sum()))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    here = (faces.render([2, 7], index=1, size=48, strength=0.65).long() * torch.arange(48)).sum()
    assert int(out) == int(here)


def test_render_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    faces.render(1, strength=1.0)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("size", [32, 33, 64, 224])
def test_render_returns_bytes_of_the_given_size(size):
    images = faces.render([0, 1], size=size)
    assert images.shape == (2, 3, size, size)
    assert images.dtype == torch.uint8
    assert images.float().std() > 10


def test_seed_identity_and_index_each_change_the_image():
    start = faces.render(3, index=0, size=48, strength=0.5)
    assert _distance(start, faces.render(3, index=0, size=48, strength=0.5, seed=1)) > 3
    assert _distance(start, faces.render(4, index=0, size=48, strength=0.5)) > 3
    assert _distance(start, faces.render(3, index=1, size=48, strength=0.5)) > 3


@pytest.mark.parametrize("name", list(faces.FACTORS))
def test_every_factor_moves_the_image_further_with_strength(name):
    """Mean distance to the neutral image over 12 people rises with every step of the factor."""
    people = torch.arange(12)
    other = {"contrast": 0.5} if name == "light_azimuth" else {}
    steps = [
        faces.render(people, size=64, **other, **{name: share * faces.FACTORS[name].high})
        for share in (0.0, 0.2, 0.45, 0.7, 1.0)
    ]
    moved = [_distance(steps[0], step) for step in steps]
    assert moved[1] > 0.02
    assert all(a < b for a, b in itertools.pairwise(moved)), moved


def test_neutral_factors_change_nothing():
    plain = faces.render(WHO, size=48)
    assert torch.equal(plain, faces.render(WHO, size=48, **dict.fromkeys(faces.FACTORS, 0.0)))


def test_given_factors_replace_only_the_drawn_ones():
    who, index = torch.tensor([5, 6]), torch.tensor([1, 2])
    drawn = faces.nuisances(0, who, index, strength=0.8)
    given = faces.nuisances(0, who, index, strength=0.8, yaw=40.0)
    assert given.values["yaw"].tolist() == [40.0, 40.0]
    for name in faces.FACTORS:
        if name != "yaw":
            assert torch.equal(drawn.values[name], given.values[name])


def test_drawn_strengths_lie_within_the_world_strength():
    n = faces.nuisances(0, torch.arange(2000), torch.zeros(2000, dtype=torch.int64), strength=0.6)
    strengths = n.strengths()
    assert strengths.shape == (2000, len(faces.FACTORS))
    assert strengths.min() >= 0
    assert strengths.max() <= 0.6 + 1e-6


def _descriptor(images):
    """Mean colours of 10 x 10 parts of the face."""
    return F.avg_pool2d(images.float()[:, :, 10:54, 12:52], 4).flatten(1)


def test_identity_outweighs_mild_nuisances():
    """Two images of one person are mostly closer than two people under equal nuisances."""
    people = torch.arange(150)
    one = _descriptor(faces.render(people, index=0, size=64, strength=0.2))
    two = _descriptor(faces.render(people, index=1, size=64, strength=0.2))
    shared = faces.nuisances(0, people, torch.zeros_like(people), strength=0.2)
    other = _descriptor(faces.render_latents(faces.latents(0, people.roll(1)), shared, 64))
    nearer = (one - two).norm(dim=1) < (one - other).norm(dim=1)
    assert nearer.float().mean() > 0.8


def test_latents_are_standard_normal_and_traits_plausible():
    vectors = faces.latents(0, torch.arange(4000))
    assert vectors.shape == (4000, len(faces.LATENTS))
    torch.testing.assert_close(vectors.mean(0), torch.zeros(len(faces.LATENTS)), atol=0.08, rtol=0)
    torch.testing.assert_close(
        vectors.std(0), torch.full((len(faces.LATENTS),), 0.97), atol=0.05, rtol=0
    )
    traits = faces.traits(vectors)
    assert (traits["beard"][traits["male"] < 0.5] == 0).all()
    assert len(traits["style"].unique()) == len(faces.STYLES)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: faces.render(0, size=31),
            r"size must be a whole number of pixels in \[32, 224\], got 31",
        ),
        (lambda: faces.render(0, size=225), "got 225"),
        (lambda: faces.render(0, strength=1.2), r"strength must lie in \[0, 1\], got 1.2"),
        (
            lambda: faces.render(0, yawn=3.0),
            "unknown nuisance factor 'yawn'; the factors are yaw, pitch",
        ),
        (lambda: faces.render(0, yaw=120.0), r"yaw must lie in \[-90, 90\] degrees, got 120"),
        (lambda: faces.render(0, age=float("nan")), r"age must lie in \[0, 1\], got nan"),
        (lambda: faces.render(-1), "identities must be a non-negative whole number"),
        (lambda: faces.render(0.5), "identities must be a non-negative whole number"),
        (
            lambda: faces.traits(torch.zeros(2, 3)),
            r"identity latents have shape \(b, 64\), got \(2, 3\)",
        ),
    ],
)
def test_invalid_input_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_album_has_the_images_of_each_person_together():
    album = faces.album(3, 4, first=50, start=10, size=32, strength=0.4, seed=2)
    assert album.identity.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.equal(
        album.images[5], faces.render(51, index=11, seed=2, size=32, strength=0.4)[0]
    )
    drawn = faces.nuisances(2, torch.tensor([51]), torch.tensor([11]), strength=0.4)
    assert torch.equal(album.nuisances.details[5:6], drawn.details)
