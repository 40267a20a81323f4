"""Losses without a head: targets, slopes, gradients, and the behaviour at the poles."""

import math

import pytest
import torch

from cdmllab import heads, margins
from cdmllab.analysis.numerics import survey
from cdmllab.analysis.target_curve import equal_angles, mixed_derivatives, pull, target_curve
from cdmllab.geometry import point_at
from cdmllab.margins.angular import add_angle

COSINES = torch.tensor([0.8, 0.5, 0.1, -0.5], dtype=torch.float64)


def test_target_curve_of_arcface_is_the_formula_and_its_derivative():
    seen = target_curve(margins.create("arcface", margin_rad=0.5), COSINES)
    theta = torch.acos(COSINES)
    torch.testing.assert_close(seen.target, torch.cos(theta + 0.5))
    torch.testing.assert_close(seen.slope, torch.sin(theta + 0.5) / torch.sin(theta))


def test_target_curve_of_straight_through_keeps_the_value_and_has_slope_one():
    exact = target_curve(margins.create("arcface"), COSINES)
    through = target_curve(margins.create("arcface", gradient="straight_through"), COSINES)
    assert torch.equal(exact.target, through.target)
    assert torch.equal(through.slope, torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "options", "slope"),
    [
        ("arcface", {"margin_rad": 0.5}, math.sin(math.acos(0.6) + 0.5) / 0.8),
        ("arcface", {"margin_rad": 0.5, "gradient": "straight_through"}, 1.0),
        ("cosface", {"margin_cos": 0.2}, 1.0),
        ("normface", {}, 1.0),
    ],
)
def test_mixed_derivatives_are_equal_for_a_gradient_and_not_straight_through(name, options, slope):
    """g_y = -s (1 - p_y) psi' and g_j = s p_j, with p of the target after the margin; psi' as it is
    passed on.
    """
    cosines, s = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64), 4.0
    policy = margins.create(name, **options)
    target = target_curve(policy, cosines[:1]).target
    p = torch.softmax(s * torch.cat([target, cosines[1:]]), dim=0)
    true = (
        math.sin(math.acos(0.6) + 0.5) / 0.8 if name == "arcface" else 1.0
    )  # of the value, whatever is passed on
    by_other, by_own = mixed_derivatives(policy, cosines, scale=s)
    assert by_other == pytest.approx(float(-s * s * p[0] * p[1]) * slope, rel=1e-6)
    assert by_own == pytest.approx(float(-s * s * p[0] * p[1]) * true, rel=1e-6)
    assert (by_other == pytest.approx(by_own, rel=1e-6)) is ("gradient" not in options)
    assert torch.equal(cosines, torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64))


def test_target_curve_works_without_gradients_and_does_not_change_its_argument():
    with torch.no_grad():
        target_curve(margins.create("cosface"), COSINES)
    assert not COSINES.requires_grad


def test_target_curve_passes_progress_and_the_hardest_negative():
    late = margins.create(
        "cdml", easiness="gap", shape="linear", schedule="linear", margin_rad=0.5, alpha=0.2
    )
    half = target_curve(late, COSINES[:1], hardest_negative=0.4, progress=0.5).target
    margin = 0.5 * (1.0 + 0.5 * 0.2 * (0.8 - 0.4) / 2.0)
    assert math.isclose(float(half), math.cos(math.acos(0.8) + margin))


@pytest.mark.parametrize("name", ["normface", "cosface", "arcface"])
def test_pull_is_the_slope_of_a_heads_loss_along_the_sphere(name):
    head = heads.create(name, embedding_dim=6, num_identities=5, scale=16.0).double()
    with torch.no_grad():
        head.centres.copy_(torch.eye(6, dtype=torch.float64)[:5])
    away = torch.eye(6, dtype=torch.float64)[5]  # at 90 degrees to every class centre
    theta = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    loss = head(
        point_at(head.centres[0].detach(), away, theta).unsqueeze(0), torch.tensor([0])
    ).loss
    (want,) = torch.autograd.grad(loss, theta)
    got = pull(head.policy, theta.detach().reshape(1), scale=16.0, num_identities=5)
    torch.testing.assert_close(got, want.reshape(1))


def test_pull_is_half_where_the_scaled_target_meets_the_other_identities():
    theta = torch.tensor([math.acos(math.log(999) / 64.0) - 0.5], dtype=torch.float64)
    got = pull(margins.create("arcface", margin_rad=0.5), theta, scale=64.0, num_identities=1000)
    assert math.isclose(float(got), 64.0 * 0.5 * math.sin(float(theta) + 0.5))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("opposite", [False, True])
def test_samples_on_their_class_centre_have_a_gradient_in_every_precision(dtype, opposite):
    seen = survey(
        lambda c: add_angle(c, torch.full_like(c, 0.5)), dtype, samples=200, opposite=opposite
    )
    assert (seen.nan_targets, seen.nan_gradients) == (0, 0)
    assert seen.exactly_one > 0


def test_survey_counts_failures_of_the_textbook_form_where_the_cosine_is_one_or_more():
    seen = survey(lambda c: torch.cos(torch.acos(c) + 0.5), torch.float32)
    assert seen.above_one > 0
    assert seen.nan_targets == seen.above_one
    assert seen.nan_gradients == seen.above_one + seen.exactly_one


def test_price_of_a_margin_is_the_loss_of_a_head_whose_centres_all_agree():
    head = heads.create(
        "arcface", embedding_dim=2, num_identities=50, scale=64.0, margin_rad=0.5
    ).double()
    with torch.no_grad():
        head.centres.copy_(torch.tensor([1.0, 0.0], dtype=torch.float64).expand(50, 2))
    theta = torch.tensor([0.3, 1.0, math.pi / 2, 2.9], dtype=torch.float64)
    at = torch.stack([theta.cos(), theta.sin()], dim=1)
    expected = torch.stack([head(x[None], torch.tensor([3])).loss for x in at])
    result = equal_angles(head.policy, theta, scale=64.0, num_identities=50)
    torch.testing.assert_close(result.loss, expected.detach())
    through = equal_angles(
        margins.create("arcface", gradient="straight_through"), theta, scale=64.0, num_identities=50
    )
    assert result.slope[2] == pytest.approx(64.0 * (math.cos(0.5) - 1.0))
    torch.testing.assert_close(through.slope, torch.zeros_like(theta), atol=1e-9, rtol=0.0)
    level = equal_angles(margins.create("cosface"), theta[:3], scale=64.0, num_identities=50)
    assert torch.allclose(level.loss, level.loss[:1])
