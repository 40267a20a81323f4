import pytest
import torch

from cdmllab import margins
from cdmllab.margins import Batch


def test_names_build_and_describe_themselves():
    seen = 0
    for name in margins.names():
        policy = margins.create(name, num_identities=10)
        assert policy.describe()
        seen += 1
    assert seen == len(margins.names()) >= 5


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'arcface'"):
        margins.create("arcfase")


def test_unknown_option_names_the_loss_and_suggests():
    with pytest.raises(ValueError, match=r"arcface has no option 'margin'.*did you mean 'margin_rad'"):
        margins.create("arcface", margin=0.5)


@pytest.mark.parametrize("name", margins.names())
def test_policies_do_not_change_their_arguments(name):
    policy = margins.create(name, num_identities=10)
    c = torch.linspace(-1, 1, 9)
    b = Batch(torch.arange(9), c, torch.ones(9), c.flip(0).clone())
    before = [t.clone() for t in (b.labels, c, b.embedding_norm, b.hardest_negative)]
    policy.observe(b)
    policy.margined(c, b)
    policy.negatives(c.reshape(3, 3), b)
    policy.margin_rad(b)
    for old, new in zip(before, (b.labels, c, b.embedding_norm, b.hardest_negative), strict=True):
        assert torch.equal(old, new)


def test_straight_through_keeps_the_value_and_passes_the_gradient():
    c = torch.linspace(-0.9, 0.9, 7, requires_grad=True)
    b = Batch(torch.arange(7), c, torch.ones(7))
    through = margins.create("arcface", gradient="straight_through").margined(c, b)
    assert torch.equal(through, margins.create("arcface").margined(c, b))
    through.sum().backward()
    assert torch.equal(c.grad, torch.ones(7))
