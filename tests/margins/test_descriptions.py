"""The sentence with which each loss describes itself in tables, figures and a run's output."""

import pytest
from tests.oracles import class_sizes

from cdmllab import margins

CDML = "cos(θ + m_i), m_i = 0.49 (1 + 0.2 e_i) rad, from 0.392 to 0.588; easy samples get the "
EVERY = "cos(θ + m), m = 0.5 rad (28.6°) for every sample"
DESCRIPTIONS = [
    ("softmax", {}, "logit w·x + b without normalisation, scale or margin"),
    ("normface", {}, "no margin"),
    (
        "sphereface",
        {},
        "cos(4 θ), continued monotonically, blended with cos θ by λ from 1000 to 5",
    ),
    ("sphereface", {"anneal_from": 0.0, "anneal_to": 0.0}, "cos(4 θ), continued monotonically"),
    ("arcface", {}, EVERY),
    ("arcface", {"beyond_pi": "none"}, EVERY),
    ("arcface", {"easy_margin": True}, f"{EVERY}; no margin at 90° and beyond"),
    ("combined", {}, "cos(1 θ + 0.3) - 0.2"),
    ("cosface", {}, "cos θ - m, m = 0.35 for every sample"),
    ("adacos", {}, "cos θ without a margin; the scale is 3.11 and adapts to each batch"),
    ("adacos", {"dynamic": False}, "cos θ without a margin; the scale is 3.11 and stays fixed"),
    (
        "arcnegface",
        {},
        f"{EVERY}; negatives count t (cos_j + 1) - 1, t at most 1.2 where they equal the target",
    ),
    ("ldam", {}, "cos θ - m_y, m_y = 0.5 for the rarest identity and falling with n_y^-0.25"),
    ("liarcface", {}, "1 - 2 (θ + m) / π, m = 0.45 rad; negatives become 1 - 2 θ / π"),
    ("mv_softmax", {}, "cos(θ + 0) - 0.35; negatives above it become 1.2 cos_j + 0.2"),
    (
        "mv_softmax",
        {"reweight": "fixed", "margin_rad": 0.5},
        "cos(θ + 0.5) - 0.35; negatives above it become cos_j + 0.2",
    ),
    (
        "curricularface",
        {},
        f"{EVERY}; negatives above it become cos_j (t + cos_j), currently t = 0",
    ),
    (
        "dynamic_arcface",
        {},
        "cos(θ + m_y), m_y from 0.5 rad for the smallest class down to 0.05 for the largest, as "
        "n_y^-0.25; the nearest of 3 centres an identity",
    ),
    (
        "logit_adjustment",
        {},
        "logit s cos θ_j + 1 log(n_j / n), for positive and negatives alike",
    ),
    (
        "npcface",
        {},
        "cos(θ + m_i), m_i = 0.4 + 0.2 × mean hard negative; hard negatives become 1.1 cos_j + 0.2",
    ),
    ("subcenter_arcface", {}, f"{EVERY}; the nearest of 3 centres per identity"),
    ("elasticface", {}, "cos(θ + m_i), m_i drawn from N(0.5, 0.05²)"),
    (
        "elasticface",
        {"margin_rad": None, "margin_cos": 0.35, "plus": True},
        "cos θ - m_i, m_i drawn from N(0.35, 0.05²), the largest for the hardest samples",
    ),
    (
        "magface",
        {},
        "cos(θ + m(a)), m from 0.45 rad at length 10 to 0.8 at 110; plus 35 (1/a + a/110²)",
    ),
    (
        "sphereface2",
        {},
        "logistic losses of g(cos θ) - 0.4 and of g(cos θ_j) + 0.4, g(z) = 2 ((z + 1) / 2)^3 - 1, "
        "with one learnt bias, now 21.4",
    ),
    (
        "adaface",
        {},
        "cos(θ - m z) - (m + m z), m = 0.4, z = clip(0.333 × standardised length, -1, 1)",
    ),
    (
        "kappaface",
        {},
        "cos(θ + m_y), m_y = 0.8 × (0.7 w_size + 0.3 w_kappa): rare or scattered identities get "
        "the larger margin",
    ),
    (
        "uniface",
        {},
        "logistic losses of s (cos θ - 0.4) and of s cos θ_j against one learnt threshold, now "
        "4.61",
    ),
    ("x2_softmax", {}, "-0.9 θ² + 0.65"),
    ("x2_softmax", {"h": -0.5, "k": -0.2}, "-0.9 (θ + 0.5)² - 0.2"),
    ("x2_softmax", {"k": 0.0}, "-0.9 θ² + 0"),
    (
        "cdml",
        {},
        f"{CDML}larger margin; e_i: step in the similarity to the target centre, neutral at 0.5",
    ),
    (
        "cdml",
        {
            "easiness": "gap",
            "shape": "linear",
            "favour": "hard",
            "schedule": "cosine",
            "alpha": 0.1234567,
        },
        "cos(θ + m_i), m_i = 0.49 (1 - 0.123 e_i) rad, from 0.43 to 0.55; hard samples get the "
        "larger margin; e_i: linear in the gap to the hardest negative; alpha grows with training "
        "progress (cosine)",
    ),
    (
        "cdml",
        {"easiness": "angle_gap", "pivot": 0.123456, "class_weight": 0.25, "match_mean": True},
        f"{CDML}larger margin; e_i: step in the angle gap to the hardest negative, neutral at "
        "0.123456; 25% of e_i is the identity's running easiness; the mean margin of a batch is "
        "kept at the base",
    ),
    (
        "cdml",
        {"easiness": "known", "schedule": "linear", "easy_margin": True},
        f"{CDML}larger margin; e_i: step in the true easiness, known with the batch; alpha grows "
        "with training progress (linear); no margin at 90° and beyond",
    ),
]


@pytest.mark.parametrize(("name", "options", "sentence"), DESCRIPTIONS)
def test_description_states_the_formula_with_the_values_of_the_options(name, options, sentence):
    sizes = {"num_identities": 10, "embedding_dim": 4, "class_sizes": class_sizes(10)}
    loss = margins.create(name, **sizes, **options)
    assert loss.describe() == sentence
    assert sentence in repr(loss)


def test_description_of_every_loss_is_checked():
    assert {name for name, *_ in DESCRIPTIONS} >= set(margins.names())
