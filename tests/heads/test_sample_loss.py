"""`sample_loss` has a gradient: weighted losses, hard samples, and NaN for ignored samples."""

import pytest
import torch
from tests import oracles
from tests.heads.variants import data, gradients, make

from cdmllab.heads import _blockwise_softmax

BACKENDS = ["dense", "blocked", "sharded"]
LOSSES = ["arcface", "magface", "curricularface", "cdml", "adacos", "subcenter_arcface"]
WEIGHTS = torch.tensor([0.0, 0.5, 1.0, 2.0, 0.25, 3.0], dtype=torch.float64)


def oracle_gradient(name, x, y, centres, weights, step=1e-6):
    """Central differences of the weighted mean of the oracle's sample losses; shape of x."""
    rows, result = x.tolist(), torch.zeros_like(x)
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            ends = []
            for h in (-step, step):
                row[j] = value + h
                losses = oracles.loss_of(name, rows, y.tolist(), centres, 8.0)
                ends.append(
                    sum(w * loss for w, loss in zip(weights.tolist(), losses, strict=True))
                    / len(losses)
                )
            row[j] = value
            result[i, j] = (ends[1] - ends[0]) / (2 * step)
    return result


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["arcface", "magface", "cdml", "subcenter_arcface"])
def test_gradient_of_a_weighted_mean_equals_the_oracles(name, backend):
    head, (x, y) = make(name, backend), data()
    want = oracle_gradient(
        name, x, y, head.centres.detach().unflatten(0, (9, -1)).tolist(), WEIGHTS
    )
    x.requires_grad_()
    (WEIGHTS * head(x, y).sample_loss).mean().backward()
    torch.testing.assert_close(x.grad, want, rtol=1e-5, atol=1e-7)
    assert (x.grad[0] == 0.0).all()
    assert (x.grad[1:].abs().amax(dim=1) > 0.0).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [*LOSSES, "softmax"])
def test_plain_mean_of_the_sample_losses_is_the_loss_with_its_gradient(name, backend):
    x, y = data()
    _, want = gradients(make(name, backend), x, y)
    head = make(name, backend)
    x.requires_grad_()
    again = head(x, y)
    assert torch.equal(again.sample_loss.mean(), again.loss)
    again.sample_loss.mean().backward()
    for got, expected in zip([x.grad, *(p.grad for p in head.parameters())], want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("backend", ["blocked", "sharded"])
@pytest.mark.parametrize("name", [*LOSSES, "softmax"])
def test_weighted_losses_are_the_same_in_every_backend(name, backend):
    x, y = data()
    y[4] = -1
    result = []
    for kind in ("dense", backend):
        head, leaf = make(name, kind, learn_scale=name != "softmax"), x.clone().requires_grad_()
        out, kept = head(leaf, y), y != -1
        (WEIGHTS[kept] * out.sample_loss[kept]).sum().backward()
        result.append([leaf.grad, *(p.grad for p in head.parameters())])
    for got, want in zip(result[1], result[0], strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_hardest_samples_alone_are_a_batch_of_their_own(backend):
    x, y = data()
    y[1] = -1
    head, leaf, kept = make("arcface", backend), x.clone().requires_grad_(), y != -1
    top = head(leaf, y).sample_loss[kept].topk(3)
    top.values.mean().backward()
    chosen = kept.nonzero().squeeze(1)[top.indices].sort().values
    _, (want, centres) = gradients(make("arcface", backend), x[chosen], y[chosen])
    torch.testing.assert_close(leaf.grad[chosen], want)
    torch.testing.assert_close(head.centres.grad, centres)
    rest = torch.ones(6).bool().index_fill(0, chosen, False)
    assert (leaf.grad[rest] == 0.0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_ignored_samples_are_nan_and_do_not_move_learned_weights(backend):
    x, y = data()
    y[[0, 3]] = -1
    kept, weights = y != -1, torch.ones(6, dtype=torch.float64, requires_grad=True)
    head, leaf = make("magface", backend), x.clone().requires_grad_()
    out = head(leaf, y)
    assert out.sample_loss.isnan().tolist() == (~kept).tolist()
    (weights[kept] * out.sample_loss[kept]).sum().backward()
    torch.testing.assert_close(weights.grad[kept], out.sample_loss[kept].detach())
    assert (weights.grad[~kept] == 0.0).all()
    assert (leaf.grad[~kept] == 0.0).all()
    assert torch.isfinite(leaf.grad).all()
    assert torch.isfinite(head.centres.grad).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_ignored_sample_may_be_nan(backend, bad):
    x, y = data()
    y[2] = -1
    spoilt = x.clone()
    spoilt[2, 1] = bad
    (want, want_grads), (out, grads) = (
        gradients(make("cdml", backend, easiness="gap"), e, y) for e in (x, spoilt)
    )
    assert torch.equal(out.loss, want.loss)
    for got, expected in zip(grads, want_grads, strict=True):
        assert torch.equal(got, expected)
    assert (grads[0][2] == 0.0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_rest_of_the_output_is_detached(backend):
    x, y = data()
    out = make("cdml", backend, keep_logits=True)(x.requires_grad_(), y)
    assert out.loss.requires_grad
    assert out.sample_loss.requires_grad
    for field in ("target_cos", "margin_rad", "easiness", "logits"):
        assert not getattr(out, field).requires_grad


@pytest.mark.parametrize("backend", ["blocked", "sharded"])
def test_loss_and_sample_losses_share_one_pass_each_way(backend, monkeypatch):
    passes = []
    original = _blockwise_softmax.blocks
    monkeypatch.setattr(
        _blockwise_softmax, "blocks", lambda *args: (passes.append(0), original(*args))[1]
    )
    x, y = data()
    out = make("cdml", backend, easiness="gap")(x.requires_grad_(), y)
    assert len(passes) == 1
    (out.loss + (WEIGHTS * out.sample_loss).sum()).backward()
    assert len(passes) == 2
