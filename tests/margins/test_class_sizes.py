"""Losses whose margin depends on the number of images per identity, against worked values."""

import inspect
import math
import pickle

import numpy as np
import pytest
import torch

from cdmllab import heads, margins
from cdmllab.margins import Batch
from cdmllab.margins.class_sizes import ClassSizes

SIZES = [16, 1, 256, 81]
BY_SIZE = [
    name
    for name in margins.names()
    if "class_sizes" in inspect.signature(margins.builder(name)).parameters
]


def make(name, sizes=SIZES, **options):
    return margins.create(name, num_identities=4, embedding_dim=2, class_sizes=sizes, **options)


def batch(cosine=0.5):
    c = torch.full((4,), cosine, dtype=torch.float64)
    return Batch(torch.arange(4), c, torch.ones_like(c))


def near(got, want):
    torch.testing.assert_close(got, torch.tensor(want, dtype=torch.float64), rtol=0, atol=1e-12)


def test_ldam_margin_falls_with_the_fourth_root_of_the_class_size():
    b = batch()
    near(make("ldam").target(b.target_cos, b), [0.5 - 0.25, 0.5 - 0.5, 0.5 - 0.125, 0.5 - 0.5 / 3])
    near(make("ldam", margin_cos=0.2, power=0.5).margins_cos(), [0.05, 0.2, 0.0125, 0.2 / 9])


def test_dynamic_margins_run_from_the_largest_class_to_the_smallest():
    """n^(-1/4) is 1/2, 1, 1/4 and 1/3, of a range from 1/4 to 1."""
    shares = [1 / 3, 1.0, 0.0, 1 / 9]
    near(make("dynamic_arcface").margins_rad(), [0.05 + 0.45 * share for share in shares])
    b = batch(math.cos(1.0))
    got = make("dynamic_arcface").target(b.target_cos, b)
    near(got, [math.cos(1.05 + 0.45 * share) for share in shares])


def test_logit_adjustment_raises_logits_by_the_log_of_the_share_of_images():
    near(make("logit_adjustment", tau=2.0).class_offset(), [2 * math.log(n / 354) for n in SIZES])


@pytest.mark.parametrize("backend", ["dense", "blocked", "sharded"])
def test_logit_adjustment_is_a_margin_for_each_pair_of_identities(backend):
    """Identity 1 has a quarter of identity 0's images: log 4 more for it to beat."""
    head = heads.create(
        "logit_adjustment",
        embedding_dim=2,
        num_identities=2,
        scale=4.0,
        class_sizes=[80, 20],
        backend=backend,
    ).double()
    with torch.no_grad():
        head.centres.copy_(torch.eye(2))
    x = torch.tensor([[0.6, 0.8], [0.6, 0.8]], dtype=torch.float64)
    lead = 4.0 * (0.8 - 0.6) - math.log(4.0)
    want = [math.log1p(math.exp(lead)), math.log1p(math.exp(-lead))]
    near(head(x, [0, 1]).sample_loss.detach(), want)
    assert torch.equal(head(x, [0, 1]).margin_rad, torch.zeros(2, dtype=torch.float64))
    near(head.logits(x).detach()[0], [2.4, 3.2])  # without the adjustment, as at test time


@pytest.mark.parametrize("backend", ["dense", "blocked", "sharded"])
@pytest.mark.parametrize("name", BY_SIZE)
def test_training_without_class_sizes_is_refused(name, backend):
    head = heads.create(name, embedding_dim=2, num_identities=4, backend=backend)
    message = f"{name} needs the number of training images of each identity: give class_sizes"
    with pytest.raises(ValueError, match=message):
        head(torch.randn(3, 2), [0, 1, 2])
    assert torch.isfinite(head.eval()(torch.randn(3, 2), [0, 1, 2]).loss)


@pytest.mark.parametrize("name", BY_SIZE)
def test_unknown_and_equal_class_sizes_are_the_same(name):
    b = batch()
    unknown, equal = make(name, None), make(name, [7] * 4)
    assert torch.equal(unknown.target(b.target_cos, b), equal.target(b.target_cos, b))
    assert unknown.class_offset() is None
    offset = equal.class_offset()
    assert offset is None or (offset == offset[0]).all()


@pytest.mark.parametrize("name", BY_SIZE)
def test_class_sizes_are_kept_by_state_dict_and_by_pickling(name):
    one, other, b = make(name), make(name, None), batch()
    want = one.target(b.target_cos, b), one.class_offset()
    other.target(b.target_cos, b)  # which finds the sizes unknown
    other.load_state_dict(one.state_dict())
    for policy in (other, pickle.loads(pickle.dumps(one))):
        policy.observe(b)
        assert torch.equal(policy.target(b.target_cos, b), want[0])
        if want[1] is not None:
            assert torch.equal(policy.class_offset(), want[1])


@pytest.mark.parametrize("name", BY_SIZE)
def test_an_identity_without_images_counts_as_the_smallest(name):
    b = batch()
    one, other = make(name, [16, 0, 256, 4]), make(name, [16, 4, 256, 4])
    assert torch.equal(one.target(b.target_cos, b), other.target(b.target_cos, b))
    if one.class_offset() is not None:
        assert torch.equal(one.class_offset(), other.class_offset())


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, lambda s: np.array(s, np.uint16)])
def test_class_sizes_may_be_a_list_an_array_or_a_tensor(kind):
    near(make("ldam", kind(SIZES)).margins_cos(), [0.25, 0.5, 0.125, 0.5 / 3])


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ([1.0, 2.0, 3.0, 4.0], "class_sizes must be whole numbers, got float64"),
        ("1234", "class_sizes must be whole numbers, got <U4"),
        ([1, 2, 3], r"class_sizes must have shape \(4,\), got \(3,\)"),
        ([[1, 2, 3, 4]], r"class_sizes must have shape \(4,\), got \(1, 4\)"),
        ([5, 5, -2, 5], "identity 2 has -2 images in class_sizes"),
        ([0, 0, 0, 0], "class_sizes are all 0"),
    ],
)
def test_impossible_class_sizes_are_refused(sizes, sentence):
    with pytest.raises(ValueError, match=sentence):
        make("ldam", sizes)


def test_instance_of_a_loss_takes_no_class_sizes_from_the_head():
    with pytest.raises(ValueError, match="already an instance of LDAM: pass class_sizes to"):
        heads.create(make("ldam"), embedding_dim=2, num_identities=4, class_sizes=SIZES)


def test_several_centres_of_dynamic_arcface_are_at_least_one():
    with pytest.raises(ValueError, match="centres_per_identity must be at least 1, got 0"):
        make("dynamic_arcface", centres_per_identity=0)


@pytest.mark.parametrize(
    ("sizes", "want"), [(None, [1.0, 1.0, 1.0]), ([0, 3, 2**40], [3.0, 3.0, 2.0**40])]
)
def test_sizes_are_float64_and_those_of_empty_classes_the_smallest_of_the_others(sizes, want):
    got = ClassSizes(3, sizes).sizes()
    assert got.dtype == torch.float64
    assert got.tolist() == want
