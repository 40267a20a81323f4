"""The running statistics of the losses, against manual calculations."""

import math

import pytest
import torch
from tests.oracles import class_sizes

from cdmllab import margins
from cdmllab.margins import CDML, Batch


def batch(target_cos, **fields):
    c = torch.as_tensor(target_cos, dtype=torch.float64)
    labels = torch.zeros(len(c), dtype=torch.int64)
    return Batch(
        **{"labels": labels, "target_cos": c, "embedding_norm": torch.full_like(c, 20.0), **fields}
    )


def test_cdml_class_easiness_is_fed_with_the_samples_own():
    """Two batches, momentum 0.1: 0.1 x 0.8 and then 0.9 x 0.08 + 0.1 x 0.4, without the
    class term.
    """
    policy = CDML(class_weight=0.5, num_identities=1, pivot=0.0)
    policy.observe(batch([0.8, 0.8]))
    torch.testing.assert_close(policy.class_easiness.mean, torch.tensor([0.08]))
    policy.observe(batch([0.6, 0.2]))
    torch.testing.assert_close(policy.class_easiness.mean, torch.tensor([0.112]))
    torch.testing.assert_close(
        policy.easiness(batch([0.5])), torch.tensor([0.306]).double(), rtol=0, atol=1e-7
    )


def test_adaface_lengths_are_clamped_before_they_are_averaged():
    """1e-6 counts as 0.001 and 5,000 as 100, as in the authors' code: mean 50.0005, deviation
    70.71.
    """
    policy = margins.create("adaface", momentum=1.0)
    policy.observe(batch([0.0, 0.0], embedding_norm=torch.tensor([1e-6, 5_000.0])))
    assert float(policy.mean) == pytest.approx(50.0005)
    assert float(policy.std) == pytest.approx(99.999 / math.sqrt(2))


def test_adaface_quality_looks_at_the_clamped_length():
    policy = margins.create("adaface")  # mean 20, deviation 100
    z = policy.quality(
        batch([0.0, 0.0], embedding_norm=torch.tensor([1e-6, 5_000.0], dtype=torch.float64))
    )
    want = [0.333 * (0.001 - 20.0) / 100.001, 0.333 * (100.0 - 20.0) / 100.001]
    torch.testing.assert_close(z, torch.tensor(want, dtype=torch.float64))


def test_adacos_scale_stays_at_one_or_above():
    """Two negatives at 90 degrees, at a scale near 0: log(2) / cos(0) would be 0.69."""
    policy = margins.create("adacos", num_identities=3)
    policy.observe(batch([1.0, 1.0], negative_partition=torch.full((2,), math.log(2.0))))
    assert float(policy.scale) == 1.0
    policy.observe(batch([1.0, 1.0], negative_partition=torch.full((2,), 1.5)))
    assert float(policy.scale) == pytest.approx(1.5)


def test_kappaface_momentum_compounds_over_the_samples_of_a_batch():
    """After 1,000 samples three more have the weight 1 - 0.95^3, as if in separate batches."""
    together, one_by_one = (
        margins.create("kappaface", num_identities=1, embedding_dim=2) for _ in range(2)
    )
    new = torch.tensor([[0.0, 1.0]])
    for policy in (together, one_by_one):
        policy.count.fill_(1_000)
        policy.mean.copy_(torch.tensor([[1.0, 0.0]]))
    together.observe(batch([0.0] * 3, unit_embeddings=new.expand(3, 2)))
    for _ in range(3):
        one_by_one.observe(batch([0.0], unit_embeddings=new))
    weight = 1.0 - 0.95**3
    torch.testing.assert_close(together.mean, torch.tensor([[1.0 - weight, weight]]))
    torch.testing.assert_close(together.mean, one_by_one.mean)
    assert int(together.count) == 1_003


@pytest.mark.parametrize("name", margins.names())
def test_counters_of_a_loss_count_beyond_the_whole_numbers_of_float32(name):
    size = {"num_identities": 10, "embedding_dim": 4, "class_sizes": class_sizes(10)}
    counters = {
        key: value
        for key, value in margins.create(name, **size).state_dict().items()
        if key.rpartition(".")[2] in ("step", "count")
    }
    assert all(value.dtype == torch.int64 for value in counters.values())
    assert name not in ("sphereface", "elasticface", "kappaface") or counters
