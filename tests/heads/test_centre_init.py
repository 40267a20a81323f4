"""Initial class centres: of length about 1, or as in arcface_torch and ArcFace's MXNet code."""

import math

import pytest
import torch

from cdmllab import heads
from cdmllab.training import presets

BACKENDS = ["dense", "blocked", "sharded"]


def centres(backend, dim=512, name="arcface", **options):
    torch.manual_seed(0)
    return heads.create(
        name, embedding_dim=dim, num_identities=200, backend=backend, **options
    ).centres.detach()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("options", "length"), [({}, 1.0), ({"centre_init": "normal_0.01"}, 0.2263)]
)
def test_first_centres_have_the_length_of_their_source(backend, options, length):
    """The expected length is 0.01 sqrt(512) = 0.2263.

    The relative standard deviation of a length is 1/sqrt(2 * 512) = 3 %, that of the mean of
    200 is 0.2 %.
    """
    rows = centres(backend, **options)
    assert float(rows.norm(dim=1).mean()) == pytest.approx(length, rel=0.01)
    assert abs(float(rows.mean())) < 5 * float(rows.std()) / math.sqrt(rows.numel())


@pytest.mark.parametrize("backend", BACKENDS)
def test_both_ways_draw_the_same_directions(backend):
    unit, small = (centres(backend, dim=64, centre_init=init) for init in ("unit", "normal_0.01"))
    torch.testing.assert_close(small, unit * 0.01 * math.sqrt(64))


def test_default_is_the_one_of_all_recorded_sweeps():
    result = centres("dense")
    torch.manual_seed(0)
    assert torch.equal(result, torch.randn(200, 512) / math.sqrt(512))


@pytest.mark.parametrize("backend", BACKENDS)
def test_short_centre_turns_farther_in_one_step(backend):
    """For equal cosines the gradient is equal: SGD turns a centre by lr |g| / length^2."""
    turned = []
    for init in ("unit", "normal_0.01"):
        torch.manual_seed(0)
        options = {
            "embedding_dim": 512,
            "num_identities": 3,
            "scale": 2.0,
            "backend": backend,
            "centre_init": init,
        }
        head = heads.create("arcface", **options)
        before = head.centres.detach().clone()
        x = torch.randn(4, 512, generator=torch.Generator().manual_seed(1))
        head(x, torch.tensor([0, 1, 2, 0])).loss.backward()
        after = before - 1e-4 * head.centres.grad
        turned.append(
            (1.0 - torch.cosine_similarity(after.double(), before.double(), dim=1)).mul(2.0).sqrt()
        )
    torch.testing.assert_close(
        turned[1] / turned[0], torch.full((3,), 1 / (0.01**2 * 512)).double(), rtol=0.02, atol=0
    )


def test_unknown_centre_init_is_rejected_by_name():
    with pytest.raises(
        ValueError, match=r"centre_init must be one of 'unit', 'normal_0.01'; got 'xavier'"
    ):
        centres("dense", centre_init="xavier")
    with pytest.raises(
        ValueError, match="triplet compares pairs of embeddings, without class centres"
    ):
        heads.create("triplet", embedding_dim=4, num_identities=3, centre_init="normal_0.01")


@pytest.mark.parametrize(
    "name", [name for name in presets.names() if name.startswith(("casia", "ms1mv3"))]
)
def test_presets_of_published_rows_start_as_the_code_behind_them(name):
    """Recipes of arcface_torch use its initialisation; the lab's and LFW's presets keep theirs."""
    loss = presets.load(name).loss
    assert loss.options.get("centre_init") == (None if loss.name == "triplet" else "normal_0.01")


def test_recorded_presets_keep_their_start():
    for name in presets.names():
        if name.startswith(("lab", "lfw")):
            assert "centre_init" not in presets.load(name).loss.options
