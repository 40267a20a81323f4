import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from cdmllab import heads, margins

COSINE_LOSSES = [name for name in margins.names() if name != "softmax"]


def data(b=6, c=9, d=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(b, d, generator=generator, dtype=dtype),
        torch.randint(0, c, (b,), generator=generator),
    )


def make(name="arcface", c=9, d=5, scale=8.0, **options):
    torch.manual_seed(3)
    return heads.create(name, embedding_dim=d, num_identities=c, scale=scale, **options).double()


@pytest.mark.parametrize(
    ("name", "options", "target"),
    [
        ("normface", {}, lambda c: c),
        ("arcface", {"margin_rad": 0.5}, lambda c: oracles.combined(c, m2=0.5)),
        ("combined", {"m1": 0.9, "margin_rad": 0.4, "margin_cos": 0.15},
         lambda c: oracles.combined(c, 0.9, 0.4, 0.15)),
        ("cdml", {}, lambda c: oracles.combined(c, m2=0.49 * (1.2 if c > 0.5 else 0.8))),
    ],
)  # fmt: skip
def test_loss_equals_the_oracle(name, options, target):
    head, (x, y) = make(name, **options), data()
    out = head(x, y)
    want = oracles.margin_softmax(
        x.tolist(), y.tolist(), head.centres.tolist(), 8.0, lambda i, cosines: target(cosines[y[i]])
    )
    torch.testing.assert_close(out.sample_loss, torch.tensor(want, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(out.loss, out.sample_loss.mean())


def test_softmax_is_a_linear_layer_with_cross_entropy():
    head, (x, y) = make("softmax"), data()
    with torch.no_grad():
        head.bias.normal_()
    want = torch.nn.functional.cross_entropy(x @ head.centres.T + head.bias, y)
    torch.testing.assert_close(head(x, y).loss, want)


@pytest.mark.parametrize("name", margins.names())
def test_gradients_are_exact(name):
    head, (x, y) = make(name, c=5, d=3), data(4, 5, 3)

    def loss(embeddings, centres):
        return torch.func.functional_call(head, {"centres": centres}, (embeddings, y)).loss

    assert torch.autograd.gradcheck(loss, (x.requires_grad_(), head.centres.detach().requires_grad_()))


@pytest.mark.parametrize("name", COSINE_LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_loss_and_gradients_are_finite_at_the_edges(name, dtype):
    head = heads.create(name, embedding_dim=3, num_identities=4, scale=64.0)
    with torch.no_grad():
        head.centres.copy_(torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0, 0]]))
    # On the own centre, opposite to it, on a foreign one, zero, and with a zero class centre.
    x = torch.tensor(
        [[2.0, 0, 0], [2, 0, 0], [2, 0, 0], [0, 0, 0], [1, 1, 1]], dtype=dtype, requires_grad=True
    )
    out = head(x, torch.tensor([0, 1, 2, 2, 3]))
    out.loss.backward()
    assert torch.isfinite(out.loss)
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(head.centres.grad).all()
    assert (x.grad[3] == 0).all()
    assert head.centres.grad.abs().max() < 1e4


def test_minus_one_ignores_a_sample():
    x, y = data()
    hole = y.clone()
    hole[[1, 4]] = -1
    kept = [0, 2, 3, 5]
    a, b = make()(x, hole), make()(x[kept], y[kept])
    torch.testing.assert_close(a.loss, b.loss)
    torch.testing.assert_close(a.margin_rad[kept], b.margin_rad)
    assert a.target_cos[[1, 4]].isnan().all()


def test_all_ignored_is_zero_with_zero_gradient():
    head, (x, y) = make(), data()
    x.requires_grad_()
    out = head(x, torch.full_like(y, -1))
    out.loss.backward()
    assert out.loss == 0
    assert (x.grad == 0).all()


def test_labels_of_shape_b_1_count_as_b():
    x, y = data()
    assert make()(x, y.unsqueeze(1)).loss == make()(x, y).loss


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, y: (x, y.index_fill(0, torch.tensor([2]), 9)), "label 9 of sample 2 is out of range"),
        (lambda x, y: (x, y.index_fill(0, torch.tensor([3]), -2)), "label -2 of sample 3"),
        (lambda x, y: (x.index_fill(0, torch.tensor([4]), torch.nan), y), "sample 4 holds NaN"),
        (lambda x, y: (x[:, :4], y), r"shape \(b, 5\), got \(6, 4\)"),
        (lambda x, y: (x, y[:5]), r"shape \(6,\) or \(6, 1\)"),
        (lambda x, y: (x, y.double()), "labels must be integers"),
        (lambda x, y: (x.long(), y), "floating point"),
    ],
)
def test_bad_input_is_named(change, said):
    with pytest.raises(ValueError, match=said):
        make()(*change(*data()))


@pytest.mark.parametrize("name", margins.names())
def test_forward_does_not_change_its_arguments(name):
    head, (x, y) = make(name), data()
    before = x.clone(), y.clone(), head.centres.detach().clone()
    head(x, y)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert torch.equal(head.centres, before[2])


def test_logits_are_the_plain_ones_and_only_on_request():
    x, y = data()
    assert make()(x, y).logits is None
    out = make(keep_logits=True)(x, y)
    own = out.logits.gather(1, y.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(own, 8.0 * out.target_cos)
    assert not out.logits.requires_grad


def test_running_statistics_move_in_training_only():
    head, (x, y) = make("cdml", class_weight=0.5), data()
    head.eval()(x, y)
    assert (head.policy.class_easiness.mean == 0).all()
    head.train()(x, y)
    assert (head.policy.class_easiness.mean[y] != 0).all()


def test_state_dict_carries_everything():
    head, (x, y) = make("cdml", class_weight=0.5), data()
    head(x, y)
    head.set_progress(0.25)
    other = make("cdml", class_weight=0.5)
    other.load_state_dict(head.state_dict())
    assert float(other.progress) == 0.25
    assert other.eval()(x, y).loss == head.eval()(x, y).loss


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(2, 9), st.integers(1, 6), st.integers(0, 99))
def test_a_margin_never_lowers_the_loss(b, c, d, seed):
    x, y = data(b, c, d, seed)
    losses = [make(name, c=c, d=d)(x, y).sample_loss for name in ("normface", "arcface", "cdml")]
    assert (losses[1] >= losses[0] - 1e-9).all()
    assert (losses[2] >= losses[0] - 1e-9).all()


def test_repr_tells_a_person_what_it_is():
    text = repr(heads.create("cdml", embedding_dim=512, num_identities=1000))
    for part in ("cdml", "512-d", "1,000 identities", "scale 64", "0.49", "easy samples get the larger"):
        assert part in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backend": "sparse"}, "unknown backend 'sparse'"),
        ({"scale": 0.0}, "scale must be a positive number"),
        ({"num_identities": 1}, "num_identities must be at least 2"),
    ],
)
def test_bad_construction_is_named(options, said):
    with pytest.raises(ValueError, match=said):
        heads.create("arcface", **{"embedding_dim": 4, "num_identities": 3, **options})
