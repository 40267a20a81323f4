import inspect

import pytest
import torch
from tests.oracles import class_sizes

from cdmllab import margins
from cdmllab.margins import Batch, MarginPolicy


def test_loss_is_described_by_the_first_line_of_its_docstring():
    class Documented(MarginPolicy):
        """Half the target cosine.

        More about it.
        """

    class Undocumented(Documented):
        pass

    assert Documented().describe() == "Half the target cosine"
    assert Undocumented().describe() == "no description"  # not that of its base


def test_every_loss_describes_itself():
    assert {"softmax", "arcface", "cdml"} <= set(margins.names())
    for name in margins.names():
        text = margins.create(name, num_identities=10, embedding_dim=4).describe()
        assert text
        assert "\n" not in text


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'arcface'"):
        margins.create("arcfase")


def counts(name):
    """Whether a loss cannot be built without the number of identities."""
    size = inspect.signature(margins.builder(name)).parameters.get("num_identities")
    return size is not None and size.default is inspect.Parameter.empty


@pytest.mark.parametrize("name", [name for name in margins.names() if counts(name)])
def test_losses_that_count_identities_ask_for_their_number(name):
    with pytest.raises(ValueError, match=f"{name} keeps something for every identity: give"):
        margins.create(name)


def test_unknown_option_names_the_loss_and_suggests():
    with pytest.raises(
        ValueError, match=r"arcface has no option 'margin'.*did you mean 'margin_rad'"
    ):
        margins.create("arcface", margin=0.5)


def make_batch(n=9):
    c = torch.linspace(-1, 1, n)
    return Batch(
        labels=torch.arange(n),
        target_cos=c,
        embedding_norm=torch.linspace(1, 120, n),
        unit_embeddings=torch.eye(n)[:, :4],
        hardest_negative=c.flip(0).clone(),
        hard_negative_mean=torch.zeros(n),
        negative_partition=torch.full((n,), 3.0),
    )


@pytest.mark.parametrize("name", margins.names())
def test_policies_do_not_change_their_arguments(name):
    size = {"num_identities": 10, "embedding_dim": 4, "class_sizes": class_sizes(10)}
    policy, b = margins.create(name, **size), make_batch()
    tensors = [v for v in vars(b).values() if isinstance(v, torch.Tensor)]
    before = [t.clone() for t in tensors]
    policy.observe(b)
    policy.margined(b.target_cos, b)
    policy.negatives(torch.linspace(-1, 1, 27).reshape(9, 3), b)
    policy.margin_rad(b)
    policy.regulariser(b)
    for old, new in zip(before, tensors, strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("name", margins.names())
def test_every_loss_has_both_gradients(name):
    assert margins.options(name)["gradient"] == "exact"
    b = make_batch()
    c = b.target_cos.clone().requires_grad_()
    policy = margins.create(name, num_identities=10, embedding_dim=4, gradient="straight_through")
    exact = margins.create(name, num_identities=10, embedding_dim=4)
    value = policy.margined(c, b)
    assert torch.equal(value, exact.margined(c, b))
    value.sum().backward()
    assert torch.equal(c.grad, torch.ones_like(c))


@pytest.mark.parametrize(
    ("name", "neutral", "same_as"),
    [
        ("cosface", {"margin_cos": 0.0}, ("normface", {})),
        ("arcface", {"margin_rad": 0.0}, ("normface", {})),
        ("combined", {"m1": 1.0, "margin_rad": 0.0, "margin_cos": 0.0}, ("normface", {})),
        ("combined", {"m1": 1.0, "margin_rad": 0.5, "margin_cos": 0.0}, ("arcface", {})),
        ("combined", {"m1": 1.0, "margin_rad": 0.0, "margin_cos": 0.35}, ("cosface", {})),
        ("sphereface", {"factor": 1.0, "anneal_from": 0.0, "anneal_to": 0.0}, ("normface", {})),
        ("subcenter_arcface", {"centres_per_identity": 1}, ("arcface", {})),
        ("mv_softmax", {"t": 0.0}, ("cosface", {})),
        ("mv_softmax", {"t": 0.0, "margin_cos": 0.0, "margin_rad": 0.5}, ("arcface", {})),
        (
            "npcface",
            {"margin_rad": 0.5, "margin_slope_rad": 0.0, "t": 1.0, "a": 0.0},
            ("arcface", {}),
        ),
        (
            "magface",
            {"low_margin_rad": 0.5, "high_margin_rad": 0.5, "lambda_g": 0.0},
            ("arcface", {}),
        ),
        ("adaface", {"h": 0.0, "margin": 0.4}, ("cosface", {"margin_cos": 0.4})),
        ("elasticface", {"sigma": 0.0}, ("arcface", {})),
        ("elasticface", {"sigma": 0.0, "margin_rad": None, "margin_cos": 0.35}, ("cosface", {})),
        ("kappaface", {"margin_rad": 0.5}, ("arcface", {})),  # before two identities are known
        ("cdml", {"alpha": 0.0, "margin_rad": 0.5}, ("arcface", {})),
        ("arcnegface", {"alpha": 1.0, "sigma": 1e9}, ("arcface", {})),
        ("ldam", {"margin_cos": 0.0}, ("normface", {})),
        ("ldam", {"power": 0.0}, ("cosface", {"margin_cos": 0.5})),
        ("dynamic_arcface", {"low_margin_rad": 0.5}, ("arcface", {})),
        ("logit_adjustment", {"tau": 0.0}, ("normface", {})),
        ("sphereface2", {"t": 1.0, "margin_cos": 0.0}, ("normface", {})),
        ("uniface", {"margin_cos": 0.0}, ("normface", {})),
    ],
)
def test_neutral_values_reduce_a_loss_to_a_simpler_one(name, neutral, same_as):
    b = make_batch()
    sizes = {"num_identities": 10, "embedding_dim": 4, "class_sizes": class_sizes(10)}
    one, other = (
        margins.create(name, **sizes, **neutral),
        margins.create(same_as[0], **sizes, **same_as[1]),
    )
    cosines = torch.linspace(-1, 1, 27).reshape(9, 3)
    torch.testing.assert_close(
        one.target(b.target_cos, b), other.target(b.target_cos, b), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(
        one.negatives(cosines, b), other.negatives(cosines, b), rtol=0, atol=1e-6
    )
    assert one.regulariser(b) is None


def test_straight_through_keeps_the_value_and_passes_the_gradient():
    c = torch.linspace(-0.9, 0.9, 7, requires_grad=True)
    b = Batch(torch.arange(7), c, torch.ones(7))
    through = margins.create("arcface", gradient="straight_through").margined(c, b)
    assert torch.equal(through, margins.create("arcface").margined(c, b))
    through.sum().backward()
    assert torch.equal(c.grad, torch.ones(7))


def test_loss_without_a_rule_of_its_own_counts_no_negative_as_hard():
    cosines = torch.linspace(-1, 1, 27).reshape(9, 3)
    hard = margins.create("arcface").hard(cosines, make_batch())
    assert hard.dtype == torch.bool
    assert hard.shape == cosines.shape
    assert not hard.any()
