"""Properties of single losses, against manual calculations; common ones are in tests/heads."""

import math

import pytest
import torch

from cdmllab import margins
from cdmllab.margins import Batch


def batch(target_cos, **fields):
    c = torch.as_tensor(target_cos, dtype=torch.float64)
    defaults = {
        "labels": torch.zeros(len(c), dtype=torch.int64),
        "embedding_norm": torch.full_like(c, 20.0),
    }
    return Batch(**{"target_cos": c, **defaults, **fields})


@pytest.mark.parametrize("factor", [1.35, 2.0, 4.0])
def test_sphereface_falls_all_the_way(factor):
    policy = margins.create("sphereface", factor=factor, anneal_from=0.0, anneal_to=0.0)
    c = torch.cos(torch.linspace(0, math.pi, 4001, dtype=torch.float64))
    psi = policy.target(c, batch(c))
    assert (psi.diff() <= 1e-7).all()
    assert math.isclose(float(psi[0]), 1.0, abs_tol=1e-7)


def test_sphereface_softening_follows_the_authors_code():
    policy = margins.create("sphereface")
    seen = []
    for _ in range(1700):
        policy.observe(batch([0.0]))
        seen.append(policy.softening)
    assert math.isclose(seen[0], 1000.0 / 1.12)
    assert seen[1656] > 5.0
    assert seen[-1] == 5.0


def test_liarcface_is_linear_in_the_angle():
    theta = torch.linspace(0.1, 3.0, 30, dtype=torch.float64)
    policy = margins.create("liarcface", margin_rad=0.45)
    b = batch(torch.cos(theta))
    torch.testing.assert_close(policy.target(b.target_cos, b), 1 - 2 * (theta + 0.45) / math.pi)
    torch.testing.assert_close(
        policy.negatives(b.target_cos[:, None], b)[:, 0], 1 - 2 * theta / math.pi
    )


def test_adacos_scale_equals_worked_values():
    policy = margins.create("adacos", num_identities=11)
    assert math.isclose(float(policy.scale), math.sqrt(2) * math.log(10), rel_tol=1e-6)
    # B_avg = (e^3 + e^5) / 2, median angle 60 degrees, capped at 45.
    policy.observe(batch([0.5, 0.5], negative_partition=torch.tensor([3.0, 5.0])))
    want = math.log((math.exp(3) + math.exp(5)) / 2) / math.cos(math.pi / 4)
    assert math.isclose(float(policy.scale), want, rel_tol=1e-6)


def test_fixed_adacos_stays():
    policy = margins.create("adacos", num_identities=11, dynamic=False)
    before = float(policy.scale)
    policy.observe(batch([0.5]))
    assert float(policy.scale) == before
    assert policy.statistics == ()


def test_curricularface_t_is_the_running_mean_of_the_target_cosine():
    policy = margins.create("curricularface")
    policy.observe(batch([0.2, 0.6]))
    policy.observe(batch([1.0, 1.0]))
    assert math.isclose(float(policy.t), 0.99 * 0.004 + 0.01, rel_tol=1e-6)


def test_curricularface_changes_only_negatives_above_the_margined_target():
    policy = margins.create("curricularface", margin_rad=0.5)
    policy.t.fill_(0.3)
    level = math.cos(math.acos(0.6) + 0.5)
    cosines = torch.tensor([[level - 0.01, level + 0.01]], dtype=torch.float64)
    got = policy.negatives(cosines, batch([0.6]))
    torch.testing.assert_close(got[0, 0], cosines[0, 0])
    torch.testing.assert_close(got[0, 1], cosines[0, 1] * (0.3 + cosines[0, 1]), rtol=1e-6, atol=0)


def test_npcface_margin_grows_with_the_hard_negatives():
    margin = margins.create("npcface").margin_rad(
        batch([0.1, 0.1], hard_negative_mean=torch.tensor([0.0, 0.5]))
    )
    torch.testing.assert_close(margin, torch.tensor([0.4, 0.5]))


def test_magface_margin_is_linear_between_the_lengths():
    lengths = torch.tensor([1.0, 10.0, 60.0, 110.0, 500.0], dtype=torch.float64)
    policy = margins.create("magface")
    want = torch.tensor([0.45, 0.45, 0.625, 0.8, 0.8], dtype=torch.float64)
    torch.testing.assert_close(policy.margin_rad(batch([0.5] * 5, embedding_norm=lengths)), want)


def test_magface_pulls_lengths_up():
    lengths = torch.tensor([20.0, 50.0], dtype=torch.float64, requires_grad=True)
    margins.create("magface").regulariser(
        batch([0.5, 0.5], embedding_norm=lengths)
    ).sum().backward()
    torch.testing.assert_close(lengths.grad, 35.0 * (-1 / lengths.detach() ** 2 + 1 / 110.0**2))
    assert (lengths.grad < 0).all()


def test_adaface_runs_from_arcface_over_cosface_to_more():
    policy = margins.create("adaface", margin=0.4)
    policy.mean.fill_(20.0)
    policy.std.fill_(1.0)
    c = math.cos(1.0)
    lengths = torch.tensor([1.0, 20.0, 99.0], dtype=torch.float64)  # z = -1, 0, 1
    b = batch([c] * 3, embedding_norm=lengths)
    want = [math.cos(1.4), c - 0.4, math.cos(0.6) - 0.8]
    got = policy.target(b.target_cos, b)
    torch.testing.assert_close(got, torch.tensor(want, dtype=torch.float64), rtol=0, atol=1e-6)


def test_adaface_takes_one_hundredth_of_the_batch():
    policy = margins.create("adaface")
    policy.observe(batch([0.0, 0.0], embedding_norm=torch.tensor([10.0, 30.0])))
    assert math.isclose(float(policy.mean), 20.0)
    assert math.isclose(float(policy.std), 0.99 * 100 + 0.01 * math.sqrt(200), rel_tol=1e-6)
    policy.observe(batch([0.0], embedding_norm=torch.tensor([10.0])))  # one sample has no spread
    assert torch.isfinite(policy.std)


def test_elasticface_margins_have_the_requested_mean_and_deviation():
    policy = margins.create("elasticface", margin_rad=0.5, sigma=0.05)
    draws = policy.draws(batch(torch.zeros(40_000)))
    assert math.isclose(float(draws.mean()), 0.5, abs_tol=1e-3)
    assert math.isclose(float(draws.std()), 0.05, abs_tol=1e-3)


def test_elasticface_draws_for_each_batch_and_repeats_after_loading():
    policy, b = margins.create("elasticface"), batch(torch.zeros(5))
    first = policy.draws(b)
    assert torch.equal(policy.draws(b), first)
    policy.observe(b)
    second = policy.draws(b)
    assert not torch.equal(first, second)
    other = margins.create("elasticface")
    other.load_state_dict(policy.state_dict())
    assert torch.equal(other.draws(b), second)
    assert not torch.equal(margins.create("elasticface", seed=1).draws(b), first)


def test_elasticface_plus_gives_the_hardest_the_largest():
    b = batch([0.9, -0.2, 0.4, 0.0])
    plain, plus = (
        margins.create("elasticface").draws(b),
        margins.create("elasticface", plus=True).draws(b),
    )
    assert plus.argsort(descending=True).tolist() == [1, 3, 2, 0]
    torch.testing.assert_close(plus.sort().values, plain.sort().values)


@pytest.mark.parametrize("given", [{"margin_cos": 0.3}, {"margin_rad": None}])
def test_elasticface_needs_exactly_one_margin(given):
    with pytest.raises(ValueError, match="give either margin_rad or margin_cos"):
        margins.create("elasticface", **given)


def observe_kappaface(policy, labels, embeddings):
    x = torch.as_tensor(embeddings, dtype=torch.float32)
    policy.observe(batch(torch.zeros(len(x)), labels=torch.tensor(labels), unit_embeddings=x))


def test_kappaface_gives_scattered_identities_the_larger_margin():
    policy = margins.create("kappaface", num_identities=3, embedding_dim=2, gamma=0.0)
    tight, wide = [[1.0, 0.0], [0.995, 0.0999]], [[1.0, 0.0], [0.0, 1.0]]
    observe_kappaface(policy, [0, 0, 1, 1], tight + wide)
    psi = policy.weights()
    r = torch.tensor([math.hypot(0.9975, 0.04995), math.hypot(0.5, 0.5)])
    kappa = r * (2 - r**2) / (1 - r**2)
    standard = (kappa - kappa.mean()) / kappa.std()
    torch.testing.assert_close(psi[:2], 1 - torch.sigmoid(0.4 * standard), rtol=1e-3, atol=1e-3)
    assert psi[1] > psi[0]
    assert math.isclose(float(psi[2]), 0.5)  # never seen


def test_kappaface_gives_rare_identities_the_larger_margin():
    policy = margins.create("kappaface", num_identities=2, embedding_dim=2, gamma=1.0)
    observe_kappaface(policy, [0, 0, 0, 0, 1, 1], [[1.0, 0.0]] * 6)
    torch.testing.assert_close(policy.weights(), torch.tensor([0.0, 0.5]), atol=1e-6, rtol=0)


def test_kappaface_mean_is_the_plain_mean_at_first():
    policy = margins.create("kappaface", num_identities=1, embedding_dim=2, momentum=0.01)
    observe_kappaface(policy, [0], [[1.0, 0.0]])
    observe_kappaface(policy, [0, 0], [[0.0, 1.0], [0.0, 1.0]])
    torch.testing.assert_close(policy.mean, torch.tensor([[1 / 3, 2 / 3]]))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cosface", {"margin_cos": -0.1}, r"margin_cos must lie in \[0, 2\]"),
        ("sphereface", {"factor": 0.5}, "factor must lie"),
        ("sphereface", {"anneal_from": 1.0, "anneal_to": 2.0}, "anneal_from must lie"),
        ("subcenter_arcface", {"centres_per_identity": 0}, "at least 1"),
        ("curricularface", {"momentum": 2.0}, "momentum must lie"),
        ("mv_softmax", {"reweight": "some"}, "reweight must be one of 'adaptive', 'fixed'"),
        ("magface", {"low": 200.0}, "low must lie"),
        ("magface", {"low": 110.0}, "low must be below high, got 110 for both"),
        ("arcface", {"beyond_pi": "bounce"}, "beyond_pi must be one of"),
        ("arcface", {"gradient": "none"}, "gradient must be one of"),
        ("arcface", {"margin_rad": math.nan}, "margin_rad must lie"),
        ("arcface", {"margin_rad": "0.5"}, "margin_rad must lie"),
    ],
)
def test_invalid_options_are_rejected(name, options, message):
    with pytest.raises(ValueError, match=message):
        margins.create(name, **options)
