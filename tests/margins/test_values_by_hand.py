"""Targets, negatives and regularisers of single samples, calculated manually from the formulas."""

import math

import pytest
import torch

from cdmllab import margins
from cdmllab.analysis.numerics import survey
from cdmllab.analysis.target_curve import equal_angles, pull, target_curve
from cdmllab.margins import CDML, Batch


def one(c, norm=50.0, **fields):
    cos = torch.tensor([c], dtype=torch.float64)
    return Batch(
        torch.zeros(1, dtype=torch.int64), cos, torch.tensor([norm], dtype=torch.float64), **fields
    )


def target(policy, c, **fields):
    b = one(c, **fields)
    return float(policy.target(b.target_cos, b))


@pytest.mark.parametrize(
    ("theta", "psi"),
    [(0.3, math.cos(1.2)), (1.0, -math.cos(4.0) - 2.0), (3.0, -math.cos(12.0) - 6)],
)
def test_sphereface_target_is_softened_by_the_plain_cosine(theta, psi):
    c = math.cos(theta)
    policy = margins.create("sphereface")
    assert math.isclose(policy.softening, 1000.0)
    assert math.isclose(target(policy, c), (1000.0 * c + psi) / 1001.0, rel_tol=1e-9)
    for _ in range(50):
        policy.observe(one(c))
    assert math.isclose(policy.softening, 1000.0 / 7.0)
    assert math.isclose(
        target(policy, c), (1000.0 / 7.0 * c + psi) / (1000.0 / 7.0 + 1.0), rel_tol=1e-9
    )
    bare = margins.create("sphereface", anneal_from=0.0, anneal_to=0.0)
    assert math.isclose(target(bare, c), psi, rel_tol=1e-9)


def test_sphereface_at_the_pole_is_the_end_of_its_last_piece():
    for factor in (2.0, 3.0, 4.0):
        policy = margins.create("sphereface", factor=factor, anneal_from=0.0, anneal_to=0.0)
        assert math.isclose(target(policy, -1.0), 1.0 - 2.0 * factor, abs_tol=1e-6)


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({}, 0.5 - 0.35),
        ({"margin_cos": 0.1, "margin_rad": 0.4}, math.cos(math.pi / 3 + 0.4) - 0.1),
    ],
)
def test_mv_softmax_raises_the_negatives_above_its_target(options, want):
    adaptive = margins.create("mv_softmax", t=0.3, **options)
    fixed = margins.create("mv_softmax", t=0.3, reweight="fixed", **options)
    assert math.isclose(target(adaptive, 0.5), want)
    cosines = torch.tensor([[want - 1e-6, want + 1e-6, 0.9]], dtype=torch.float64)
    got = adaptive.negatives(cosines, one(0.5))[0].tolist()
    assert got == pytest.approx([want, 1.3 * want + 0.3, 1.3 * 0.9 + 0.3], abs=1e-5)
    got = fixed.negatives(cosines, one(0.5))[0].tolist()
    assert got == pytest.approx([want, want + 0.3, 1.2], abs=1e-5)


def test_npcface_hard_negatives_are_those_above_the_cosine_half_a_radian_away():
    policy = margins.create("npcface")
    level = math.cos(1.2 + 0.5)
    cosines = torch.tensor([[level - 1e-6, level + 1e-6, 0.7]], dtype=torch.float64)
    b = one(math.cos(1.2), hard_negative_mean=torch.tensor([0.5]))
    assert policy.hard(cosines, b).tolist() == [[False, True, True]]
    want = [level, 1.1 * level + 0.2, 1.1 * 0.7 + 0.2]
    assert policy.negatives(cosines, b)[0].tolist() == pytest.approx(want, abs=1e-5)
    assert math.isclose(float(policy.target(b.target_cos, b)), math.cos(1.2 + 0.4 + 0.2 * 0.5))
    with pytest.raises(ValueError, match=r"needs batch\.hard_negative_mean"):
        policy.margin_rad(one(0.5))


def test_hard_negatives_past_pi_follow_the_plain_formula():
    """Past theta + hard_rad = pi the authors use the plain formula, which rises again."""
    level = math.cos(3.0 + 0.5)
    for name in ("npcface", "curricularface"):
        policy = margins.create(name)
        cosines = torch.tensor([[level - 1e-6, level + 1e-6]], dtype=torch.float64)
        changed = policy.negatives(cosines, one(math.cos(3.0))) != cosines
        assert changed.tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("length", "margin"), [(5.0, 0.45), (10.0, 0.45), (35.0, 0.5375), (110.0, 0.8), (200.0, 0.8)]
)
def test_magface_target_and_regulariser_of_a_length(length, margin):
    policy, a = margins.create("magface"), min(max(length, 10.0), 110.0)
    assert math.isclose(
        target(policy, math.cos(1.0), norm=length), math.cos(1.0 + margin), rel_tol=1e-9
    )
    got = policy.regulariser(one(0.5, norm=length))
    assert math.isclose(float(got), 35.0 * (1.0 / a + a / 110.0**2), rel_tol=1e-9)
    assert margins.create("magface", lambda_g=0.0).regulariser(one(0.5)) is None


@pytest.mark.parametrize(
    ("length", "z"), [(20.0, 0.0), (50.0, 0.333 * 30 / 100.001), (0.0, -0.333 * 19.999 / 100.001)]
)
def test_adaface_quality_is_the_standardised_length_times_h(length, z):
    policy = margins.create("adaface")
    assert math.isclose(float(policy.quality(one(0.5, norm=length))), z, abs_tol=1e-7)
    want = math.cos(1.0 - 0.4 * z) - 0.4 * (1.0 + z)
    assert math.isclose(target(policy, math.cos(1.0), norm=length), want, abs_tol=1e-6)


def test_adaface_quality_counts_lengths_up_to_a_hundred():
    policy = margins.create("adaface", h=1.0)
    at = [float(policy.quality(one(0.5, norm=length))) for length in (90.0, 100.0, 1000.0)]
    assert at[0] < at[1] == at[2] == pytest.approx(80.0 / 100.001)
    policy.std.fill_(1.0)
    assert [float(policy.quality(one(0.5, norm=length))) for length in (100.0, 1.0)] == [1.0, -1.0]


def test_elasticface_target_takes_its_draw_from_the_angle_or_the_cosine():
    b = one(math.cos(1.0))
    arc, cos = (
        margins.create("elasticface"),
        margins.create("elasticface", margin_rad=None, margin_cos=0.35),
    )
    m, k = float(arc.draws(b)), float(cos.draws(b))
    assert (m - 0.5) / 0.05 == pytest.approx((k - 0.35) / 0.05)
    assert math.isclose(float(arc.target(b.target_cos, b)), math.cos(1.0 + m))
    assert math.isclose(float(cos.target(b.target_cos, b)), math.cos(1.0) - k)
    assert float(arc.margin_rad(b)) == m
    assert math.isclose(float(cos.margin_rad(b)), math.acos(math.cos(1.0) - k) - 1.0, rel_tol=1e-6)


def test_margin_of_a_loss_without_angles_is_how_far_its_target_is_turned():
    assert float(margins.create("normface").margin_rad(one(0.3))) == 0.0
    turned = margins.create("cosface").margin_rad(one(0.5))
    assert math.isclose(float(turned), math.acos(0.15) - math.acos(0.5), rel_tol=1e-6)


def test_copy_for_the_backward_pass_keeps_its_state():
    policy = margins.create("curricularface", momentum=1.0)
    policy.observe(one(0.25))
    kept = policy.snapshot()
    policy.observe(one(0.75))
    assert (float(kept.t), float(policy.t)) == (0.25, 0.75)
    assert kept.momentum == 1.0


def test_statistics_of_an_empty_batch_move_nothing():
    nothing = Batch(
        torch.zeros(0, dtype=torch.int64),
        torch.zeros(0),
        torch.zeros(0),
        negative_partition=torch.zeros(0),
    )
    for name in ("curricularface", "adacos", "adaface"):
        policy = margins.create(name, num_identities=10, embedding_dim=4)
        before = {key: value.clone() for key, value in policy.state_dict().items()}
        policy.observe(nothing)
        assert policy.state_dict() == before


@pytest.mark.parametrize(
    ("schedule", "share"),
    [("constant", 1.0), ("linear", 0.25), ("cosine", (1 - math.cos(math.pi / 4)) / 2)],
)
def test_cdml_alpha_at_a_quarter_of_the_training(schedule, share):
    assert math.isclose(CDML(schedule=schedule, alpha=0.4).current_alpha(0.25), 0.4 * share)


def test_cdml_pivot_is_half_for_similarity_and_zero_for_gaps():
    assert [CDML(easiness=kind).pivot for kind in ("similarity", "gap", "angle_gap", "known")] == [
        0.5,
        0.0,
        0.0,
        0.0,
    ]
    assert CDML(pivot=0.0).pivot == 0.0
    assert CDML(easiness="gap", pivot=-0.25).pivot == -0.25
    assert [CDML(easiness=kind).statistics for kind in ("similarity", "gap", "angle_gap")] == [
        (), ("hardest_negative",), ("hardest_negative",),
    ]  # fmt: skip


def test_cdml_matches_the_mean_of_an_empty_batch_too():
    empty = Batch(torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(0))
    assert CDML(match_mean=True).margin_rad(empty).shape == (0,)


@pytest.mark.parametrize("never_above", [True, False])
def test_cdml_guard_acts_only_where_the_target_would_rise(never_above):
    policy = CDML(beyond_pi="none", never_above=never_above)
    assert math.isclose(target(policy, math.cos(1.0)), math.cos(1.0 + 0.49 * 1.2))
    past = math.cos(3.1)
    assert math.isclose(
        target(policy, past), past if never_above else math.cos(3.1 + 0.49 * 0.8), rel_tol=1e-7
    )


def test_curves_default_to_negatives_at_a_right_angle_and_the_start_of_the_training():
    theta = torch.tensor([0.4, 1.2], dtype=torch.float64)
    policy = CDML(easiness="gap", shape="linear", schedule="linear")
    plain = target_curve(policy, theta.cos())
    spelt_out = target_curve(policy, theta.cos(), hardest_negative=0.0, progress=0.0)
    assert torch.equal(plain.target, spelt_out.target)
    assert torch.equal(plain.slope, spelt_out.slope)
    torch.testing.assert_close(plain.target, (theta + 0.49).cos())  # alpha is 0 yet
    arc = margins.create("arcface")
    assert torch.equal(
        pull(arc, theta, scale=8.0, num_identities=5),
        pull(arc, theta, scale=8.0, num_identities=5, other_cos=0.0),
    )


@pytest.mark.parametrize("other", [0.0, 0.3, -0.5])
def test_pull_equals_worked_values(other):
    """Softmax over one target and four others: s (1 - p) sin(theta + m)."""
    theta = torch.tensor([0.7], dtype=torch.float64)
    got = pull(margins.create("arcface"), theta, scale=8.0, num_identities=5, other_cos=other)
    own, rest = math.exp(8.0 * math.cos(1.2)), 4.0 * math.exp(8.0 * other)
    assert math.isclose(float(got), 8.0 * rest / (own + rest) * math.sin(1.2), rel_tol=1e-9)


def test_price_of_a_margin_equals_worked_values():
    theta = torch.tensor([0.7], dtype=torch.float64)
    got = equal_angles(margins.create("cosface"), theta, scale=8.0, num_identities=5)
    assert math.isclose(float(got.loss), math.log(1.0 + 4.0 * math.exp(8.0 * 0.35)), rel_tol=1e-9)
    assert abs(float(got.slope)) < 1e-12  # the same cost at every angle
    arc = equal_angles(margins.create("arcface"), theta, scale=8.0, num_identities=5)
    rest = 4.0 * math.exp(8.0 * (math.cos(0.7) - math.cos(1.2)))
    assert math.isclose(float(arc.loss), math.log(1.0 + rest), rel_tol=1e-9)
    slope = 8.0 * rest / (1.0 + rest) * (math.sin(1.2) - math.sin(0.7))
    assert math.isclose(float(arc.slope), slope, rel_tol=1e-9)


def test_survey_counts_samples_at_the_pole_by_their_rounding():
    plain = survey(lambda c: c, torch.float32, samples=50, embedding_dim=64)
    assert plain.samples == 50
    assert (plain.nan_targets, plain.nan_gradients) == (0, 0)
    assert plain.exactly_one > 0
    assert plain.exactly_one + plain.above_one < 50  # some are rounded down
    bad = survey(
        lambda c: torch.where(c > 0, float("nan"), c), torch.float32, samples=50, embedding_dim=64
    )
    assert (bad.nan_targets, bad.nan_gradients) == (50, 0)
    assert (
        survey(
            lambda c: torch.where(c > 0, float("nan"), c), torch.float32, opposite=True
        ).nan_targets
        == 0
    )
    spelt_out = survey(
        torch.acos, torch.float32, samples=1000, embedding_dim=512, opposite=False, seed=0
    )
    assert survey(torch.acos, torch.float32) == spelt_out
    assert spelt_out.nan_targets == spelt_out.above_one > 0
    assert spelt_out.nan_gradients == spelt_out.above_one + spelt_out.exactly_one
