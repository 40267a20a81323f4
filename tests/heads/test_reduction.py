"""Losses that are not a softmax: the policy chooses how its negatives are reduced."""

import math

import pytest
import torch
import torch.nn.functional as F
from tests.heads.variants import data
from torch import nn

from cdmllab import heads
from cdmllab.margins import MarginPolicy


class OneVsAll(MarginPolicy):
    """A one-vs-all loss with a learnt threshold."""

    reduction = "sum"

    def __init__(self):
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.25, dtype=torch.float64))

    def negative_loss(self, logits):
        return F.softplus(logits - self.threshold)

    def sample_loss(self, positive_logit, negatives):
        return F.softplus(self.threshold - positive_logit) + negatives


class WithoutNegatives(MarginPolicy):
    reduction = "sum"


class UnknownReduction(MarginPolicy):
    reduction = "mean"


def make(backend, c, **options):
    torch.manual_seed(0)
    if backend != "dense":
        options = {"block": 2, **options}
    head = heads.create(
        OneVsAll(), embedding_dim=3, num_identities=c, scale=4.0, backend=backend, **options
    )
    return head.double()


@pytest.mark.parametrize("backend", ["dense", "blocked", "sharded"])
def test_loss_of_two_identities_equals_a_worked_example(backend):
    head = make(backend, 2)
    with torch.no_grad():
        head.centres.copy_(torch.tensor([[2.0, 0.0, 0.0], [0.0, 5.0, 0.0]], dtype=torch.float64))
    x = torch.tensor([[3.0, 4.0, 0.0]], dtype=torch.float64)  # cosines 0.6 and 0.8
    out = head(x, [0])
    want = math.log1p(math.exp(0.25 - 4 * 0.6)) + math.log1p(math.exp(4 * 0.8 - 0.25))
    assert float(out.loss.detach()) == pytest.approx(want, rel=1e-12)
    out.loss.backward()
    # d/dt of the two terms: sigmoid(t - z+) - sigmoid(z- - t)
    slope = 1 / (1 + math.exp(4 * 0.6 - 0.25)) - 1 / (1 + math.exp(0.25 - 4 * 0.8))
    assert float(head.policy.threshold.grad) == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize("backend", ["dense", "blocked", "sharded"])
def test_gradients_agree_with_differences(backend):
    head = make(backend, 5, learn_scale=True)
    x, y = data(4, 5, 3)
    names = [name for name, _ in head.named_parameters()]
    assert set(names) == {"centres", "scale", "policy.threshold"}

    def loss(x, *values):
        parameters = dict(zip(names, values, strict=True))
        head._numbers.clear()
        return torch.func.functional_call(head, parameters, (x, y)).loss

    if backend == "dense":
        values = [p.detach().clone().requires_grad_() for p in head.parameters()]
        assert torch.autograd.gradcheck(loss, (x.requires_grad_(), *values))
        return
    want = make("dense", 5, learn_scale=True)
    want.load_state_dict(head.state_dict())
    for each in (head, want):
        each(x, y).loss.backward()
    for mine, theirs in zip(head.parameters(), want.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def test_threshold_that_changed_before_the_backward_pass_is_an_error():
    head = make("blocked", 5)
    out = head(*data(4, 5, 3))
    with torch.no_grad():
        head.policy.threshold.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.loss.backward()


def test_sum_without_negative_loss_is_reported():
    head = heads.create(WithoutNegatives(), embedding_dim=3, num_identities=5)
    with pytest.raises(NotImplementedError, match="but does not define negative_loss"):
        head(*data(4, 5, 3, dtype=torch.float32))


def test_unknown_reduction_is_rejected():
    with pytest.raises(
        ValueError,
        match=r"UnknownReduction\.reduction must be one of 'logsumexp', 'sum'; got 'mean'",
    ):
        heads.create(UnknownReduction(), embedding_dim=3, num_identities=5)
