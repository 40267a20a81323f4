"""Samples without a margin: `easy_margin` and `beyond_pi="plain"`, against manual calculations."""

import math

import pytest
import torch

from cdmllab import margins
from cdmllab.margins import Batch
from cdmllab.margins.angular import AngularMargin, add_angle, combined


def make(name, **options):
    return margins.create(name, num_identities=3, embedding_dim=4, **options)


ANGULAR = [(name, {}) for name in margins.names() if isinstance(make(name), AngularMargin)] + [
    ("combined", {"m1": 1.35, "margin_rad": 0.2}),
    ("mv_softmax", {"margin_cos": 0.0, "margin_rad": 0.5}),
    ("elasticface", {"margin_rad": None, "margin_cos": 0.35}),
    ("cdml", {"easiness": "gap", "shape": "linear", "detach_margin": False, "match_mean": True}),
]
COSINES = [0.9, 0.5, 1e-6, 0.0, -1e-6, -0.5, -0.95, -1.0]


def batch(cosines, lengths=None):
    n = len(cosines)
    lengths = torch.full((n,), 60.0, dtype=torch.float64) if lengths is None else lengths
    return Batch(
        labels=torch.arange(n) % 3,
        target_cos=cosines,
        embedding_norm=lengths,
        unit_embeddings=torch.eye(n, 4, dtype=torch.float64),
        hardest_negative=torch.full((n,), 0.2, dtype=torch.float64),
        hard_negative_mean=torch.full((n,), 0.5, dtype=torch.float64),
    )


@pytest.mark.parametrize("gradient", ["exact", "straight_through"])
@pytest.mark.parametrize(("name", "options"), ANGULAR)
def test_easy_margin_does_not_change_cosines_of_zero_and_below(name, options, gradient):
    plain, eased = (
        make(name, easy_margin=easy, gradient=gradient, **options) for easy in (False, True)
    )
    result = []
    for policy in (plain, eased):
        cosines = torch.tensor(COSINES, dtype=torch.float64, requires_grad=True)
        lengths = torch.full((8,), 60.0, dtype=torch.float64, requires_grad=True)
        target = policy.margined(cosines, batch(cosines, lengths))
        slopes = torch.autograd.grad(target.sum(), [cosines, lengths], allow_unused=True)
        result.append(
            (target.detach(), slopes[0], slopes[1], policy.margin_rad(batch(cosines.detach())))
        )
    (everywhere, slope, by_length, margin), (target, eased_slope, eased_by_length, eased_margin) = (
        result
    )
    assert torch.equal(target[:3], everywhere[:3])
    assert torch.equal(target[3:], torch.tensor(COSINES[3:], dtype=torch.float64))
    assert (everywhere[3:7] != target[3:7]).all()
    torch.testing.assert_close(eased_margin[:3], margin[:3])
    torch.testing.assert_close(eased_margin[3:], torch.zeros(5, dtype=torch.float64))
    if name != "cdml" or "match_mean" not in options:  # there a margin depends on every cosine
        assert torch.equal(eased_slope[:3], slope[:3])
        assert torch.equal(eased_slope[3:], torch.ones(5, dtype=torch.float64))
    if name == "magface" and gradient == "exact":
        assert torch.equal(eased_by_length[:3], by_length[:3])
        assert (by_length[:3] != 0.0).all()
        assert (eased_by_length[3:] == 0.0).all()
    assert "; no margin at 90° and beyond" in eased.describe()
    assert eased.describe().replace("; no margin at 90° and beyond", "") == plain.describe()


@pytest.mark.parametrize(
    ("name", "options", "half"),
    [
        ("arcface", {}, math.cos(math.pi / 3 + 0.5)),
        ("magface", {}, math.cos(math.pi / 3 + 0.625)),  # 0.45 + 0.35 (60 - 10) / 100
        ("npcface", {}, math.cos(math.pi / 3 + 0.5)),  # 0.4 + 0.2 x 0.5
        ("mv_softmax", {}, 0.15),
        ("mv_softmax", {"margin_cos": 0.0, "margin_rad": 0.3}, math.cos(math.pi / 3 + 0.3)),
        ("combined", {}, math.cos(math.pi / 3 + 0.3) - 0.2),
        ("cdml", {"pivot": 0.4}, math.cos(math.pi / 3 + 0.588)),
    ],
)
def test_easy_margin_equals_worked_values(name, options, half):
    """60 degrees: with the margin. 90 and 120 degrees: without."""
    cosines = torch.tensor([0.5, 0.0, -0.5], dtype=torch.float64)
    target = make(name, easy_margin=True, **options).target(cosines, batch(cosines))
    torch.testing.assert_close(
        target, torch.tensor([half, 0.0, -0.5], dtype=torch.float64), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("name", ["curricularface", "mv_softmax", "npcface"])
def test_hard_negatives_do_not_depend_on_the_rules_for_the_target(name):
    """All three authors' codes compare negatives with the plain formula, regardless of the target.

    Past pi - m the formula is above the target of ``"linear"``, and at 120 degrees it is below
    the plain cosine of `easy_margin`.
    """
    options = {"margin_cos": 0.0, "margin_rad": 0.5} if name == "mv_softmax" else {}
    theta = torch.tensor([math.radians(120.0), 3.0], dtype=torch.float64)
    level = torch.cos(theta + 0.5)
    cosines = torch.stack([level - 1e-6, level + 1e-6], dim=1)
    b = batch(torch.cos(theta))
    for rule in ("linear", "clip", "plain", "none"):
        for easy in (False, True):
            policy = make(name, beyond_pi=rule, easy_margin=easy, **options)
            changed = policy.negatives(cosines, b) != cosines
            assert changed.tolist() == [[False, True], [False, True]]


def test_beyond_pi_plain_equals_worked_values():
    """For m = 0.5 it is cos(theta + m) up to 151.35 degrees, then the plain cosine."""
    theta = torch.tensor([1.0, math.pi - 0.501, math.pi - 0.499, 3.0], dtype=torch.float64)
    cosines = torch.cos(theta).requires_grad_()
    target = add_angle(cosines, torch.full_like(theta, 0.5), "plain")
    want = [math.cos(1.5), math.cos(math.pi - 0.001), math.cos(math.pi - 0.499), math.cos(3.0)]
    torch.testing.assert_close(target.detach(), torch.tensor(want, dtype=torch.float64))
    (slope,) = torch.autograd.grad(target.sum(), cosines)
    torch.testing.assert_close(slope[2:], torch.ones(2, dtype=torch.float64))
    got = combined(torch.cos(torch.tensor([2.9], dtype=torch.float64)), 1.35, 0.0, 0.1, "plain")
    torch.testing.assert_close(got, torch.tensor([math.cos(2.9) - 0.1], dtype=torch.float64))


@pytest.mark.parametrize(("c", "m"), [(0.99, -0.5), (math.cos(0.5) + 1e-4, -0.5), (1.0, -1e-3)])
def test_negative_margin_ends_at_a_cosine_of_one(c, m):
    """With AdaFace's negative margins, theta + m < 0 would otherwise penalise a better angle."""
    cosine, margin = torch.tensor([c], dtype=torch.float64), torch.tensor([m], dtype=torch.float64)
    theta = math.acos(c)
    assert theta + m < 0.0
    for rule in ("linear", "clip", "plain"):
        assert float(add_angle(cosine, margin, rule)) == 1.0
    assert float(add_angle(cosine, margin, "none")) == pytest.approx(math.cos(theta + m), abs=1e-12)
    assert math.cos(theta + m) < 1.0 - 1e-8


def test_negative_margin_counts_where_the_angle_allows_it():
    got = add_angle(torch.tensor([math.cos(1.0)]).double(), torch.tensor([-0.5]).double())
    torch.testing.assert_close(got, torch.tensor([math.cos(0.5)], dtype=torch.float64))


def test_easy_margin_is_yes_or_no():
    with pytest.raises(ValueError, match=r"easy_margin must be True or False; got 0\.5"):
        make("arcface", easy_margin=0.5)
