"""CDML: m_i = m_base (1 + alpha e_i), against manual calculations for each source."""

import math

import pytest
import torch

from cdmllab.margins import CDML, ArcFace, Batch


def batch(target, hardest=None, labels=None, progress=0.0):
    t = torch.tensor(target, dtype=torch.float64)
    return Batch(
        labels=torch.zeros(len(t), dtype=torch.int64) if labels is None else torch.tensor(labels),
        target_cos=t,
        embedding_norm=torch.ones_like(t),
        hardest_negative=None if hardest is None else torch.tensor(hardest, dtype=torch.float64),
        progress=progress,
    )


def near(got, want):
    torch.testing.assert_close(got, torch.tensor(want, dtype=got.dtype), atol=1e-9, rtol=0)


def test_document_gives_easy_samples_the_larger_margin():
    # 0.49 x 1.2 above the pivot of 0.5, 0.49 x 0.8 below, 0.49 on it.
    near(CDML.datn_page().margin_rad(batch([0.9, 0.1, 0.5])), [0.588, 0.392, 0.49])


def test_public_gap_is_m2_plus_alpha_times_hardness():
    # h = 1 - (cos_y - max cos): 1 - 0.6 = 0.4 and 1 - (-0.4) = 1.4; m = 0.5 + 0.1 h.
    margins = CDML.datn_code_gap().margin_rad(batch([0.8, 0.1], [0.2, 0.5]))
    near(margins, [0.54, 0.64])


def test_public_gap_spans_point_four_to_point_eight():
    near(CDML.datn_code_gap().margin_rad(batch([1.0, -1.0], [-1.0, 1.0])), [0.4, 0.8])


def test_public_angle_gap_is_m2_plus_alpha_times_clipped_hardness():
    # h = clip(pi/2 - (theta_neg - theta_y), 0, pi/3): leads of 100, 60, 20 degrees give 0, 30, 60
    # degrees.
    own = [math.cos(math.radians(20))] * 3
    other = [math.cos(math.radians(20 + lead)) for lead in (100, 60, 20)]
    margins = CDML.datn_code_angle_gap().margin_rad(batch(own, other))
    near(margins, [0.5, 0.5 + 0.1 * math.pi / 6, 0.5 + 0.1 * math.pi / 3])


def test_public_guard_keeps_the_target_at_or_below_the_cosine():
    policy = CDML.datn_code_gap()
    b = batch([-0.999], [0.9])
    plain = CDML.datn_code_gap(never_above=False).target(b.target_cos, b)
    assert plain > b.target_cos  # past pi the formula rises again
    assert torch.equal(policy.target(b.target_cos, b), b.target_cos)


@pytest.mark.parametrize("gradient", ["exact", "straight_through"])
@pytest.mark.parametrize("beyond_pi", ["linear", "clip", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cdml_alpha_zero_is_arcface_bit_for_bit(gradient, beyond_pi, dtype):
    c = torch.linspace(-1, 1, 501, dtype=dtype)
    hardest = c.flip(0)
    results = []
    for policy in (
        CDML(alpha=0.0, margin_rad=0.45, gradient=gradient, beyond_pi=beyond_pi),
        CDML(
            alpha=0.0,
            margin_rad=0.45,
            gradient=gradient,
            beyond_pi=beyond_pi,
            easiness="gap",
            favour="hard",
        ),
        CDML(
            alpha=0.0,
            margin_rad=0.45,
            gradient=gradient,
            beyond_pi=beyond_pi,
            match_mean=True,
            shape="linear",
        ),
        ArcFace(margin_rad=0.45, gradient=gradient, beyond_pi=beyond_pi),
    ):
        t = c.clone().requires_grad_()
        b = Batch(torch.zeros(501, dtype=torch.int64), t, torch.ones(501), hardest_negative=hardest)
        value = policy.margined(t, b)
        value.sum().backward()
        results.append((value.detach(), t.grad))
    for value, slope in results[:3]:
        assert torch.equal(value, results[3][0])
        assert torch.equal(slope, results[3][1])


def test_favour_reverses_the_sign():
    b = batch([0.9, 0.1])
    easy, hard = CDML().margin_rad(b), CDML(favour="hard").margin_rad(b)
    near(easy + hard, [0.98, 0.98])
    assert easy[0] > easy[1]
    assert hard[0] < hard[1]


def test_linear_shape_follows_the_value():
    policy = CDML(shape="linear", pivot=0.0, margin_rad=0.5, alpha=0.2)
    near(policy.margin_rad(batch([1.0, 0.5, 0.0, -1.0])), [0.6, 0.55, 0.5, 0.4])


@pytest.mark.parametrize(
    ("schedule", "progress", "alpha"),
    [("constant", 0.0, 0.2), ("linear", 0.0, 0.0), ("linear", 0.5, 0.1), ("linear", 1.0, 0.2),
     ("cosine", 0.0, 0.0), ("cosine", 0.5, 0.1), ("cosine", 1.0, 0.2)],
)  # fmt: skip
def test_schedule_grows_alpha_with_progress(schedule, progress, alpha):
    policy = CDML(schedule=schedule, margin_rad=0.5)
    near(policy.margin_rad(batch([0.9], progress=progress)), [0.5 * (1 + alpha)])


def test_class_weight_mixes_in_the_running_easiness_of_the_identity():
    policy = CDML(
        class_weight=0.5, num_identities=2, shape="linear", pivot=0.0, margin_rad=0.5, alpha=0.2
    )
    policy.class_easiness.mean.copy_(torch.tensor([1.0, -1.0]))
    b = batch([0.2, 0.2], labels=[0, 1])
    near(policy.easiness(b), [0.6, -0.4])
    near(policy.margin_rad(b), [0.56, 0.46])


def test_class_weight_zero_keeps_no_state():
    assert CDML(num_identities=5).state_dict() == {}
    assert list(CDML(class_weight=0.1, num_identities=5).state_dict()) == ["class_easiness.mean"]


def test_match_mean_keeps_the_batch_mean_at_the_base():
    b = batch([0.9, 0.8, 0.7, 0.1])
    free, matched = CDML().margin_rad(b), CDML(match_mean=True).margin_rad(b)
    assert abs(float(free.mean()) - 0.49) > 0.04
    assert math.isclose(float(matched.mean()), 0.49, abs_tol=1e-12)
    near(matched - free, [float(matched[0] - free[0])] * 4)


def test_detached_margin_is_a_constant_in_the_gradient():
    for detach in (True, False):
        policy = CDML(shape="linear", pivot=0.0, margin_rad=0.5, detach_margin=detach)
        c = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
        policy.target(
            c, Batch(torch.zeros(1, dtype=torch.int64), c, torch.ones(1))
        ).sum().backward()
        theta, m = math.acos(0.3), 0.5 * (1 + 0.2 * 0.3)
        slope = math.sin(theta + m) / math.sin(theta)
        if not detach:  # plus d cos(theta + m) / dm x dm/dc
            slope -= math.sin(theta + m) * 0.5 * 0.2
        assert math.isclose(float(c.grad), slope, rel_tol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"easiness": "mood"}, "easiness must be one of"), ({"alpha": 2.0}, r"alpha must lie in \[0, "
                                                                         r"1\]"),
     ({"class_weight": 0.5}, "num_identities"), ({"margin_rad": -0.1}, "margin_rad must lie")],
)  # fmt: skip
def test_invalid_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        CDML(**options)


def test_gap_without_negatives_names_the_missing_statistic():
    with pytest.raises(ValueError, match=r"needs batch\.hardest_negative"):
        CDML(easiness="gap").margin_rad(batch([0.5]))


def test_known_easiness_sets_the_margin_from_the_truth():
    policy = CDML(easiness="known", shape="linear", margin_rad=0.5, alpha=0.2)
    known = torch.tensor([1.0, 0.0, -0.5], dtype=torch.float64)
    given = Batch(**{**vars(batch([0.1, 0.1, 0.9])), "known_easiness": known})
    near(policy.margin_rad(given), [0.6, 0.5, 0.45])  # whatever the cosines say
    with pytest.raises(ValueError, match="needs the true easiness of each sample"):
        policy.margin_rad(batch([0.1, 0.1, 0.9]))
