"""The default and the allowed range of every option of a loss."""

import math

import pytest
import torch
from tests.oracles import class_sizes

from cdmllab import margins
from cdmllab.margins import Batch
from cdmllab.margins.angular import AngularMargin
from cdmllab.margins.policy import check_range

SIZES = {"num_identities": 10, "embedding_dim": 4, "class_sizes": class_sizes(10)}

# The defaults of each loss, which are those of its paper or of its authors' code, except that the
# easy margin is off.
DEFAULTS = {
    "sphereface": {"factor": 4.0, "anneal_from": 1000.0, "anneal_to": 5.0, "anneal_rate": 0.12},
    "cosface": {"margin_cos": 0.35},
    "x2_softmax": {"a": -0.9, "h": 0.0, "k": 0.65},
    "arcnegface": {"margin_rad": 0.5, "alpha": 1.2, "sigma": 2.0, "beyond_pi": "linear"},
    "ldam": {"margin_cos": 0.5, "power": 0.25},
    "dynamic_arcface": {
        "low_margin_rad": 0.05,
        "high_margin_rad": 0.5,
        "power": 0.25,
        "centres_per_identity": 3,
        "beyond_pi": "linear",
    },
    "logit_adjustment": {"tau": 1.0},
    "sphereface2": {"positive_share": 0.7, "margin_cos": 0.4, "t": 3.0, "weight": 50.0},
    "uniface": {"margin_cos": 0.4, "negative_weight": 1.0, "bias": None, "clip_logits": False},
    "normface": {},
    "softmax": {},
    "arcface": {"margin_rad": 0.5, "beyond_pi": "linear"},
    "combined": {"m1": 1.0, "margin_rad": 0.3, "margin_cos": 0.2, "beyond_pi": "linear"},
    "liarcface": {"margin_rad": 0.45},
    "adacos": {"dynamic": True},
    "subcenter_arcface": {"centres_per_identity": 3, "margin_rad": 0.5, "beyond_pi": "linear"},
    "curricularface": {"margin_rad": 0.5, "momentum": 0.01, "beyond_pi": "linear"},
    "mv_softmax": {
        "t": 0.2,
        "margin_cos": 0.35,
        "margin_rad": 0.0,
        "reweight": "adaptive",
        "beyond_pi": "linear",
    },
    "npcface": {
        "margin_rad": 0.4,
        "margin_slope_rad": 0.2,
        "t": 1.1,
        "a": 0.2,
        "hard_rad": 0.5,
        "beyond_pi": "linear",
    },
    "magface": {
        "low": 10.0,
        "high": 110.0,
        "low_margin_rad": 0.45,
        "high_margin_rad": 0.8,
        "lambda_g": 35.0,
        "beyond_pi": "linear",
    },
    "adaface": {"margin": 0.4, "h": 0.333, "momentum": 0.01, "beyond_pi": "clip"},
    "elasticface": {
        "margin_rad": 0.5,
        "margin_cos": None,
        "sigma": 0.05,
        "plus": False,
        "seed": 0,
        "beyond_pi": "linear",
    },
    "kappaface": {
        "margin_rad": 0.8,
        "temperature": 0.4,
        "gamma": 0.7,
        "momentum": 0.05,
        "beyond_pi": "linear",
    },
    "cdml": {
        "margin_rad": 0.49,
        "alpha": 0.2,
        "easiness": "similarity",
        "pivot": 0.5,
        "shape": "step",
        "favour": "easy",
        "schedule": "constant",
        "class_weight": 0.0,
        "match_mean": False,
        "never_above": False,
        "detach_margin": True,
        "beyond_pi": "linear",
    },
}

RANGES = [
    ("sphereface", "factor", 1.0, 8.0),
    ("sphereface", "anneal_to", 0.0, 1000.0),  # anneal_from may not lie below it
    ("sphereface", "anneal_rate", 0.0, math.inf),
    ("cosface", "margin_cos", 0.0, 2.0),
    ("arcface", "margin_rad", 0.0, math.pi),
    ("combined", "m1", 0.5, 4.0),
    ("combined", "margin_rad", 0.0, math.pi),
    ("combined", "margin_cos", 0.0, 2.0),
    ("liarcface", "margin_rad", 0.0, math.pi),
    ("curricularface", "momentum", 0.0, 1.0),
    ("mv_softmax", "t", 0.0, 2.0),
    ("mv_softmax", "margin_cos", 0.0, 2.0),
    ("mv_softmax", "margin_rad", 0.0, 3.1),
    ("npcface", "margin_slope_rad", 0.0, 0.4),  # at most the margin
    ("npcface", "t", 1.0, 3.0),
    ("npcface", "a", 0.0, 2.0),
    ("npcface", "hard_rad", 0.0, math.pi),
    ("magface", "low", 1e-3, 109.9995),  # below `high`
    ("magface", "low_margin_rad", 0.0, 0.8),  # at most the high one
    ("magface", "high_margin_rad", 0.45, 3.1),
    ("magface", "lambda_g", 0.0, 1e6),
    ("adaface", "margin", 0.0, 1.5),
    ("adaface", "h", 0.0, 100.0),
    ("adaface", "momentum", 0.0, 1.0),
    ("elasticface", "margin_rad", 0.0, math.pi),
    ("elasticface", "sigma", 0.0, 1.0),
    ("kappaface", "margin_rad", 0.0, math.pi),
    ("kappaface", "temperature", 0.0, 100.0),
    ("kappaface", "gamma", 0.0, 1.0),
    ("kappaface", "momentum", 0.0, 1.0),
    ("x2_softmax", "a", -10.0, 0.0),
    ("x2_softmax", "h", -math.pi, 0.0),
    ("x2_softmax", "k", -1.0, 1.0),
    ("arcnegface", "alpha", 0.0, 4.0),
    ("arcnegface", "sigma", 1e-3, 1e9),
    ("ldam", "margin_cos", 0.0, 2.0),
    ("ldam", "power", 0.0, 1.0),
    ("dynamic_arcface", "low_margin_rad", 0.0, 0.5),  # at most the high one
    ("dynamic_arcface", "high_margin_rad", 0.05, 3.1),
    ("dynamic_arcface", "power", 0.0, 2.0),
    ("logit_adjustment", "tau", 0.0, 10.0),
    ("sphereface2", "positive_share", 1e-3, 0.999),
    ("sphereface2", "margin_cos", 0.0, 2.0),
    ("sphereface2", "t", 1.0, 10.0),
    ("sphereface2", "weight", 1e-3, 1e6),
    ("uniface", "margin_cos", 0.0, 2.0),
    ("uniface", "negative_weight", 0.0, 100.0),
    ("uniface", "bias", -1e4, 1e4),
    ("cdml", "margin_rad", 0.0, math.pi),
    ("cdml", "alpha", 0.0, 1.0),
    ("cdml", "class_weight", 0.0, 1.0),
    ("cdml", "pivot", -0.999, 0.999),
]


def a_batch(n=8, seed=0):
    g = torch.Generator().manual_seed(seed)
    unit = torch.nn.functional.normalize(torch.randn(n, 4, generator=g, dtype=torch.float64))
    return Batch(
        labels=torch.arange(n) % 4,
        target_cos=torch.linspace(-0.99, 0.99, n, dtype=torch.float64),
        embedding_norm=torch.linspace(5.0, 130.0, n, dtype=torch.float64),
        progress=0.3,
        unit_embeddings=unit,
        hardest_negative=torch.linspace(0.8, -0.3, n, dtype=torch.float64),
        hard_negative_mean=torch.linspace(0.0, 0.6, n, dtype=torch.float64),
        negative_partition=torch.linspace(3.0, 5.0, n, dtype=torch.float64),
    )


def behaviour(policy):
    """Everything that a head uses of a loss, over three batches."""
    torch.manual_seed(1)
    cosines = torch.linspace(-0.95, 0.95, 8 * 5, dtype=torch.float64).reshape(8, 5)
    seen = []
    for seed in range(3):
        b = a_batch(seed=seed)
        policy.observe(b)
        seen += [
            policy.target(b.target_cos, b),
            policy.negatives(cosines, b),
            policy.hard(cosines, b),
            policy.margin_rad(b),
            policy.regulariser(b),
            policy.easiness(b),
            policy.current_scale(torch.tensor(64.0)),
            policy.class_offset(),
        ]
        if policy.reduction == "sum":
            seen += [policy.negative_loss(cosines), policy.sample_loss(b.target_cos, b.target_cos)]
    return [
        *seen,
        policy.statistics,
        policy.centres_per_identity,
        policy.changes_negatives,
        policy.gradient,
    ]


@pytest.mark.parametrize("name", margins.names())
def test_defaults_are_those_of_the_source(name):
    defaults = dict(DEFAULTS[name])
    if "beyond_pi" in defaults:
        defaults["easy_margin"] = False
    plain, spelt_out = (margins.create(name, **SIZES, **given) for given in ({}, defaults))
    for one, other in zip(behaviour(plain), behaviour(spelt_out), strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    assert set(defaults) == set(margins.options(name)) - {"gradient", "num_identities"}


@pytest.mark.parametrize(
    ("name", "option", "low", "high"), RANGES, ids=[f"{r[0]}-{r[1]}" for r in RANGES]
)
def test_option_is_taken_up_to_both_ends_of_its_range_and_no_further(name, option, low, high):
    for value in (low, high):
        if math.isfinite(value):
            margins.create(name, **SIZES, **{option: value})
    message = f"^(anneal_from|high_margin_rad|{option}) must lie in \\["
    for beyond in (low - 1e-3, high + 1e-3, math.nan):
        if not math.isinf(beyond):
            with pytest.raises(ValueError, match=message):
                margins.create(name, **SIZES, **{option: beyond})


@pytest.mark.parametrize("value", [True, "1", None, math.nan])
def test_only_numbers_lie_in_a_range(value):
    check_range("x", 1, 0.0, 2.0)
    with pytest.raises(ValueError, match=r"^x must lie in \[0, 2\]; got "):
        check_range("x", value, 0.0, 2.0)


def test_elasticface_takes_a_cosine_margin_in_its_range():
    for margin_cos in (0.0, 2.0):
        margins.create("elasticface", margin_rad=None, margin_cos=margin_cos)
    for margin_cos in (-0.1, 2.1):
        with pytest.raises(ValueError, match=r"^margin_cos must lie in \[0, 2\]"):
            margins.create("elasticface", margin_rad=None, margin_cos=margin_cos)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("arcface", "beyond_pi"),
        ("cosface", "gradient"),
        ("mv_softmax", "reweight"),
        ("cdml", "easiness"),
        ("cdml", "shape"),
        ("cdml", "favour"),
        ("cdml", "schedule"),
    ],
)
def test_choice_that_does_not_exist_is_rejected_by_its_option(name, option):
    with pytest.raises(ValueError, match=f"^{option} must be one of '.*'; got 'other'$"):
        margins.create(name, **SIZES, **{option: "other"})


def test_public_forms_of_cdml_have_the_public_codes_numbers():
    """m2 = 0.5, alpha = 0.1, the plain formula past pi, the guard, and a differentiated margin."""
    b = a_batch()
    for form in (margins.CDML.datn_code_gap, margins.CDML.datn_code_angle_gap):
        plain, spelt_out = form(), form(m2=0.5, alpha=0.1)
        assert torch.equal(plain.margin_rad(b), spelt_out.margin_rad(b))
        assert (plain.beyond_pi, plain.never_above, plain.detach_margin) == ("none", True, False)
        assert (plain.shape, plain.favour) == ("linear", "hard")
        assert form(beyond_pi="clip").beyond_pi == "clip"


@pytest.mark.parametrize("name", ["magface", "dynamic_arcface"])
def test_low_margin_out_of_range_is_named_and_not_the_high_one(name):
    both = {"low_margin_rad": 3.1, "high_margin_rad": 3.1}
    margins.create(name, **SIZES, **both)
    with pytest.raises(ValueError, match=r"low_margin_rad must lie in \[0, 3\.1\]; got 3\.2"):
        margins.create(name, **SIZES, **both | {"low_margin_rad": 3.2})


@pytest.mark.parametrize("name", margins.names())
def test_option_that_is_not_a_number_is_refused_by_its_name(name):
    for option, default in margins.options(name).items():
        if isinstance(default, float):
            with pytest.raises(ValueError, match=rf"^{option} must lie in \[.*; got nan"):
                margins.create(name, **SIZES, **{option: math.nan})


def test_angular_loss_without_options_is_linear_beyond_pi_and_adds_its_margin_everywhere():
    plain = AngularMargin()
    assert (plain.beyond_pi, plain.easy_margin, plain.gradient) == ("linear", False, "exact")
