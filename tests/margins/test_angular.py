import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import oracles
from tests.oracles import class_sizes

from cdmllab import margins
from cdmllab.margins import Batch
from cdmllab.margins.angular import BeyondPi, add_angle, combined

RULES = ["linear", "clip", "none"]
SETTINGS = [
    (1.0, 0.5, 0.0),
    (1.0, 0.0, 0.35),
    (1.35, 0.0, 0.0),
    (1.0, 0.3, 0.2),
    (0.9, 0.4, 0.15),
    (2.0, 0.3, 0.1),
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_combined_equals_the_oracle(setting, rule):
    cosines = torch.cos(torch.linspace(0, math.pi, 400, dtype=torch.float64))
    got = combined(cosines, *setting, rule)
    want = torch.tensor(
        [oracles.combined(float(c), *setting, rule) for c in cosines], dtype=torch.float64
    )
    torch.testing.assert_close(got, want, atol=3e-8, rtol=0)


@given(st.floats(0.0, math.pi - 0.5))
def test_add_angle_pushes_the_angle_by_the_margin(theta):
    c = torch.tensor([math.cos(theta)], dtype=torch.float64)
    pushed = add_angle(c, torch.tensor([0.5], dtype=torch.float64), "none")
    assert math.isclose(float(pushed), math.cos(theta + 0.5), abs_tol=2e-8)


def test_zero_margins_change_nothing():
    c = torch.linspace(-1, 1, 41)
    for rule in RULES:
        assert torch.equal(combined(c, beyond_pi=rule), c)


@pytest.mark.parametrize("rule", ["linear", "clip"])
def test_target_never_rises_with_the_angle(rule):
    c = torch.cos(torch.linspace(0, math.pi, 2001, dtype=torch.float64))
    for setting in SETTINGS:
        values = combined(c, *setting, rule)
        assert (values.diff() <= 1e-7).all(), setting


def test_target_without_a_rule_rises_past_pi():
    c = torch.cos(torch.linspace(math.pi - 0.4, math.pi, 50, dtype=torch.float64))
    assert (combined(c, m2=0.5, beyond_pi="none").diff() > 0).all()


# d cos(theta + m) / d cos(theta) = sin(theta + m) / sin(theta); a straight-through gradient is 1
# there.
@pytest.mark.parametrize(("c", "ratio"), [(0.8, 1.517), (0.5, 1.154), (0.1, 0.926), (-0.5, 0.601)])
def test_add_angle_slope_is_the_published_ratio_at_half_a_radian(c, ratio):
    t = torch.tensor([c], dtype=torch.float64, requires_grad=True)
    add_angle(t, torch.tensor([0.5], dtype=torch.float64)).sum().backward()
    theta = math.acos(c)
    assert math.isclose(float(t.grad), math.sin(theta + 0.5) / math.sin(theta), rel_tol=1e-9)
    assert math.isclose(float(t.grad), ratio, rel_tol=2e-3)


@pytest.mark.parametrize(
    "name", [name for name in margins.names() if "beyond_pi" in margins.options(name)]
)
def test_each_rule_past_pi_gives_a_target_of_its_own(name):
    """At 3 rad every margin here leads past pi."""
    sizes = {"num_identities": 10, "embedding_dim": 4, "class_sizes": class_sizes(10)}
    # Losses that add no angle by default, or that add it to short embeddings only.
    options = {"mv_softmax": {"margin_rad": 0.5}, "adaface": {"h": 100.0}}.get(name, {})
    cos = torch.tensor([math.cos(3.0)], dtype=torch.float64)
    batch = Batch(
        torch.zeros(1, dtype=torch.int64),
        cos,
        torch.ones(1, dtype=torch.float64),
        hardest_negative=torch.zeros(1, dtype=torch.float64),
        hard_negative_mean=torch.zeros(1, dtype=torch.float64),
    )
    rules = get_args(BeyondPi)
    targets = [
        float(margins.create(name, **sizes, **options, beyond_pi=rule).target(cos, batch))
        for rule in rules
    ]
    assert len({round(target, 6) for target in targets}) == len(rules) == 4
