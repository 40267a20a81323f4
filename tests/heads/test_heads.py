"""All heads and losses: against the oracle, against each other, and in edge cases."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests import oracles
from tests.heads.variants import IDS, VARIANTS, data, gradients, make
from tests.oracles import class_sizes

from cdmllab import heads, margins
from cdmllab.heads import _kernels

BACKENDS = ["dense", "blocked"]
COSINE_LOSSES = [name for name in margins.names() if name != "softmax"]
WITH_ORACLE = [name for name in COSINE_LOSSES if name not in ("elasticface", "kappaface")]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", WITH_ORACLE)
def test_loss_equals_the_oracle(name, backend):
    head, (x, y) = make(name, backend), data()
    centres = head.centres.detach().unflatten(0, (9, -1)).tolist()
    want = oracles.loss_of(name, x.tolist(), y.tolist(), centres, 8.0)
    out = head(x, y)
    # A scale or a bias of their own starts as a float32.
    rtol = 1e-6 if name in ("adacos", "sphereface2", "uniface") else 1e-9
    torch.testing.assert_close(
        out.sample_loss, torch.tensor(want, dtype=torch.float64), rtol=rtol, atol=1e-9
    )
    torch.testing.assert_close(out.loss, out.sample_loss.mean())


@pytest.mark.parametrize("backend", BACKENDS)
def test_softmax_is_a_linear_layer_with_cross_entropy(backend):
    head, (x, y) = make("softmax", backend), data()
    with torch.no_grad():
        head.bias.normal_()
    want = torch.nn.functional.cross_entropy(x @ head.centres.T + head.bias, y)
    torch.testing.assert_close(head(x, y).loss, want)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("keep_logits", [False, True])
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=IDS)
def test_blocked_equals_dense_in_loss_gradients_and_state(
    name, options, keep_logits, dtype, tolerance
):
    x, y = data(12, dtype=dtype)
    y[4] = -1
    results = []
    for backend in BACKENDS:
        head = make(name, backend, dtype=dtype, keep_logits=keep_logits, **options)
        head.set_progress(0.5)
        for _ in range(3):  # running statistics move on
            head.zero_grad()
            out, grads = gradients(head, x, y)
        results.append((out, grads, head.state_dict()))
    (dense, dense_grads, dense_state), (blocked, blocked_grads, blocked_state) = results
    assert abs((dense.loss - blocked.loss).item()) <= tolerance * max(1.0, dense.loss.item())
    for a, b in zip(dense_grads, blocked_grads, strict=True):
        assert float((a - b).norm()) <= tolerance * float(a.norm())
    for key, value in dense_state.items():
        torch.testing.assert_close(blocked_state[key], value, rtol=tolerance, atol=tolerance)
    for field in ("sample_loss", "target_cos", "margin_rad", "easiness", "logits"):
        a, b = getattr(dense, field), getattr(blocked, field)
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(
                b, a, rtol=20 * tolerance, atol=20 * tolerance, equal_nan=True
            )


# Whatever a loss detaches has to be constant for the numerical gradient as well.
FROZEN = {
    "adaface": {"h": 0.0},
    "npcface": {"margin_slope_rad": 0.0},
    "arcnegface": {"sigma": 1e9},
    "cdml": {"detach_margin": False},
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "options"), [v for v in VARIANTS if "straight_through" not in v[1].values()], ids=str
)
def test_gradients_are_exact(name, options, backend):
    head = make(name, backend, **{**options, **FROZEN.get(name, {})}).eval()
    x, y = data()
    own = [p.detach().clone().requires_grad_() for p in head.parameters()]
    keys = [key for key, _ in head.named_parameters()]

    def loss(embeddings, *parameters):
        return torch.func.functional_call(
            head, dict(zip(keys, parameters, strict=True)), (embeddings, y)
        ).loss

    assert torch.autograd.gradcheck(loss, (x.requires_grad_(), *own))


@pytest.mark.parametrize("name", ["adaface", "npcface"])
def test_margin_is_a_constant_in_the_gradient(name, monkeypatch):
    head, (x, y) = make(name).eval(), data()
    _, want = gradients(head, x, y)
    batch_margins = head(x, y).margin_rad.clone()
    hook = "quality" if name == "adaface" else "margin_rad"
    frozen = getattr(head.policy, hook)(remembered(head, x, y)).detach()
    monkeypatch.setattr(head.policy, hook, lambda batch: frozen)
    head.zero_grad()
    _, got = gradients(head, x, y)
    assert torch.allclose(head(x, y).margin_rad, batch_margins)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


def remembered(head, x, y):
    seen = []
    original = head.policy.target
    head.policy.target = lambda cos, batch: (seen.append(batch), original(cos, batch))[1]
    head(x, y)
    del head.policy.target
    return seen[0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", COSINE_LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_loss_and_gradients_are_finite_at_the_edges(name, dtype, backend):
    size = {"embedding_dim": 3, "num_identities": 4, "class_sizes": class_sizes(4)}
    head = heads.create(name, **size, scale=64.0, backend=backend)
    rows = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0, 0]])
    with torch.no_grad():
        head.centres.copy_(rows.repeat_interleave(head.policy.centres_per_identity, dim=0))
    # On the target centre, opposite to it, on a negative one, zero, and with a zero class centre;
    # the last is repeated.
    x = torch.tensor(
        [[2.0, 0, 0], [2, 0, 0], [2, 0, 0], [0, 0, 0], [1, 1, 1], [1, 1, 1]], dtype=dtype
    )
    out, (d_x, d_centres, *_) = gradients(head, x, torch.tensor([0, 1, 2, 2, 3, 3]))
    assert torch.isfinite(out.loss)
    assert torch.isfinite(d_x).all()
    assert torch.isfinite(d_centres).all()
    assert (d_x[3] == 0).all()
    assert d_centres.abs().max() < 1e4
    assert d_x.dtype == dtype


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", margins.names())
def test_batch_of_one_works(name, backend):
    out, grads = gradients(make(name, backend), *(t[:1] for t in data()))
    assert torch.isfinite(out.loss)
    assert all(torch.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("backend", BACKENDS)
def test_minus_one_ignores_a_sample(backend):
    x, y = data()
    hole = y.clone()
    hole[[1, 4]] = -1
    kept = [0, 2, 3, 5]
    a, b = make(backend=backend)(x, hole), make(backend=backend)(x[kept], y[kept])
    torch.testing.assert_close(a.loss, b.loss)
    torch.testing.assert_close(a.margin_rad[kept], b.margin_rad)
    assert a.target_cos[[1, 4]].isnan().all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", margins.names())
def test_all_ignored_is_zero_with_zero_gradient(name, backend):
    x, y = data()
    out, grads = gradients(make(name, backend), x, torch.full_like(y, -1))
    assert out.loss == 0
    assert all((g == 0).all() for g in grads if g is not None)


def test_labels_of_shape_b_1_count_as_b():
    x, y = data()
    assert make()(x, y.unsqueeze(1)).loss == make()(x, y).loss


@pytest.mark.parametrize("backend", [*BACKENDS, "triplet"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x, y: (x, y.index_fill(0, torch.tensor([2]), 9)),
            "label 9 of sample 2 is out of range",
        ),
        (lambda x, y: (x, y.index_fill(0, torch.tensor([3]), -2)), "label -2 of sample 3"),
        (lambda x, y: (x.index_fill(0, torch.tensor([4]), torch.nan), y), "sample 4 contains NaN"),
        (lambda x, y: (x[:, :4], y), r"shape \(b, 5\), got \(6, 4\)"),
        (lambda x, y: (x, y[:5]), r"shape \(6,\) or \(6, 1\)"),
        (lambda x, y: (x, y.double()), "labels must be integers"),
        (lambda x, y: (x.long(), y), "floating point"),
    ],
)
def test_bad_input_is_named(change, message, backend):
    pair = backend == "triplet"
    head = (
        heads.create("triplet", embedding_dim=5, num_identities=9)
        if pair
        else make(backend=backend)
    )
    with pytest.raises(ValueError, match=message):
        head(*change(*data()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", margins.names())
def test_forward_and_backward_do_not_change_their_arguments(name, backend):
    head, (x, y) = make(name, backend, keep_logits=True), data()
    before = x.clone(), y.clone(), head.centres.detach().clone()
    x.requires_grad_()
    out = head(x, y)
    logits = out.logits.clone()
    out.loss.backward()
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert torch.equal(head.centres, before[2])
    assert torch.equal(out.logits, logits)


@pytest.mark.parametrize("backend", BACKENDS)
def test_logits_are_the_plain_ones_and_only_on_request(backend):
    x, y = data()
    assert make(backend=backend)(x, y).logits is None
    out = make(backend=backend, keep_logits=True)(x, y)
    own = out.logits.gather(1, y.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(own, 8.0 * out.target_cos)
    assert not out.logits.requires_grad


@pytest.mark.parametrize(
    "name", ["curricularface", "mv_softmax", "npcface"]
)  # those that change negatives
def test_batch_in_between_does_not_change_the_gradient(name):
    """Two forward passes before a backward pass: each backend keeps the statistics of its own."""
    result = []
    for backend in ("dense", "blocked"):
        head = make(name, backend).train()
        x, y = data()
        other, labels = data(seed=1)
        x.requires_grad_()
        first = head(x, y)
        head(other, labels)
        result.append(torch.autograd.grad(first.loss, [x, head.centres]))
    for a, b in zip(*result, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_changed_logits_that_backward_needs_are_an_error():
    x, y = data()
    out = make("arcface", "blocked", keep_logits=True)(x.requires_grad_(), y)
    out.logits.sub_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.loss.backward()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "name",
    ["sphereface", "adacos", "curricularface", "adaface", "elasticface", "kappaface", "cdml"],
)
def test_running_statistics_move_in_training_only_and_survive_state_dict(name, backend):
    options = {"class_weight": 0.5} if name == "cdml" else {}
    head, (x, y) = make(name, backend, **options), data()
    before = {key: value.clone() for key, value in head.policy.state_dict().items()}
    assert before
    head.eval()(x, y)
    assert all(torch.equal(head.policy.state_dict()[key], value) for key, value in before.items())
    head.train()(x, y)
    assert any(
        not torch.equal(head.policy.state_dict()[key], value) for key, value in before.items()
    )
    head.set_progress(0.25)
    other = make(name, backend, **options)
    other.load_state_dict(head.state_dict())
    assert float(other.progress) == 0.25
    assert other.eval()(x, y).loss == head.eval()(x, y).loss


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_keeps_the_head_in_float32(backend):
    x, y = data(dtype=torch.float32)
    head = make(backend=backend, dtype=torch.float32)
    plain, want = gradients(head, x, y)
    head.zero_grad()
    x.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = head(x, y)
    cast.loss.backward()
    got = [x.grad, head.centres.grad]
    assert torch.equal(plain.loss, cast.loss)
    assert all(torch.equal(a, b) for a, b in zip(want, got, strict=True))


def test_compiled_elementwise_parts_change_nothing():
    x, y = data(12)
    plain, want = gradients(make("cdml", "blocked", easiness="gap"), x, y)
    compiled, got = gradients(make("cdml", "blocked", easiness="gap", compiled=True), x, y)
    assert _kernels.compiled("cpu") is not _kernels.PLAIN
    torch.testing.assert_close(compiled.sample_loss, plain.sample_loss, rtol=1e-12, atol=1e-12)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_without_a_compiler_the_plain_parts_run(monkeypatch):
    def broken(function, **_):
        def call(*_):
            raise RuntimeError("no C++ compiler found")

        return call

    _kernels.compiled.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    with pytest.warns(RuntimeWarning, match=r"run uncompiled: no C\+\+ compiler found"):
        parts = _kernels.compiled("cpu")
    _kernels.compiled.cache_clear()
    assert parts is _kernels.PLAIN


def test_bf16_products_stay_close():
    x, y = data(64, 500, 64, dtype=torch.float32)
    errors = []
    for products in ("float32", "bfloat16"):
        torch.manual_seed(0)
        head = heads.create(
            "arcface", embedding_dim=64, num_identities=500, backend="blocked", products=products
        )
        errors.append(gradients(head, x, y)[1][1])
    error = float((errors[0] - errors[1]).norm() / errors[0].norm())
    assert 0.0 < error <= 1e-2


def test_float16_scale_never_overflows():
    head = heads.create(
        "normface", embedding_dim=4, num_identities=300, scale=1000.0, backend="blocked"
    )
    out, grads = gradients(head, torch.randn(8, 4), torch.arange(8))
    assert torch.isfinite(out.loss)
    assert all(torch.isfinite(g).all() for g in grads)


@settings(max_examples=40)
@given(
    st.integers(1, 7), st.integers(2, 12), st.integers(1, 6), st.integers(1, 14), st.integers(0, 99)
)
@example(b=4, c=2, d=2, block=1, seed=42)  # an embedding on its target centre
def test_shapes_and_block_sizes_make_no_difference(b, c, d, block, seed):
    x, y = data(b, c, d, seed)
    torch.manual_seed(seed)
    dense = heads.create(
        "cdml", embedding_dim=d, num_identities=c, easiness="gap", shape="linear"
    ).double()
    blocked = heads.create(
        "cdml",
        embedding_dim=d,
        num_identities=c,
        easiness="gap",
        shape="linear",
        backend="blocked",
        block=block,
    ).double()
    blocked.load_state_dict(dense.state_dict())
    one, other = blocked(x, y), dense(x, y)
    off_the_poles = other.target_cos.abs() < 1.0 - 1e-12
    torch.testing.assert_close(one.sample_loss[off_the_poles], other.sample_loss[off_the_poles])
    # On a pole one rounding of the cosine, 1e-16, is 1e-8 in its sine, and 64 times that in the
    # loss.
    torch.testing.assert_close(one.sample_loss, other.sample_loss, rtol=0.0, atol=2e-6)


@settings(max_examples=30)
@given(st.integers(1, 7), st.integers(2, 9), st.integers(1, 6), st.integers(0, 99))
def test_margin_never_lowers_the_loss(b, c, d, seed):
    x, y = data(b, c, d, seed)
    torch.manual_seed(seed)
    plain = heads.create("normface", embedding_dim=d, num_identities=c, scale=8.0).double()
    for name in ("arcface", "cosface", "combined", "cdml", "mv_softmax", "npcface"):
        head = heads.create(name, embedding_dim=d, num_identities=c, scale=8.0).double()
        head.load_state_dict(plain.state_dict())
        assert (head(x, y).sample_loss >= plain(x, y).sample_loss - 1e-9).all()


def test_repr_describes_the_head():
    text = repr(heads.create("cdml", embedding_dim=512, num_identities=1000))
    for part in (
        "cdml",
        "512-d",
        "1,000 identities",
        "scale 64",
        "0.49",
        "easy samples get the larger",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "sparse"}, "unknown backend 'sparse'"),
        ({"scale": 0.0}, "scale must be a positive number"),
        ({"scale": "64"}, "scale must be a positive number, got '64'"),
        ({"embedding_dim": 4.5}, "embedding_dim must be an integer"),
        ({"num_identities": 1}, "num_identities must be an integer of at least 2"),
        ({"block": 5}, "options of backend='blocked'"),
        ({"backend": "blocked", "block": 0}, "block must be at least 1"),
        ({"backend": "blocked", "products": "int8"}, "products must be 'float32' or 'bfloat16'"),
    ],
)
def test_bad_construction_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        heads.create("arcface", **{"embedding_dim": 4, "num_identities": 3, **options})


@pytest.mark.parametrize("backend", ["dense", "blocked"])
def test_known_easiness_reaches_the_loss_without_ignored_samples(backend):
    torch.manual_seed(3)
    head = heads.create(
        "cdml", embedding_dim=8, num_identities=5, easiness="known", backend=backend
    )
    x, labels = torch.randn(4, 8), torch.tensor([0, -1, 2, 3])
    known = torch.tensor([1.0, 0.3, -1.0, 0.0])
    out = head(x, labels, known)
    torch.testing.assert_close(
        out.margin_rad, 0.49 * torch.tensor([1.2, math.nan, 0.8, 1.0]), equal_nan=True
    )
    torch.testing.assert_close(
        out.easiness, torch.tensor([1.0, math.nan, -1.0, 0.0]), equal_nan=True
    )
    assert not torch.equal(out.loss, head(x, labels, -known).loss)


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        (torch.zeros(3), r"known_easiness must have shape \(2,\), got \(3,\)"),
        (torch.tensor([0.0, 1.5]), "the known easiness of sample 1 is 1.5"),
        (torch.tensor([math.nan, 0.0]), "the known easiness of sample 0 is nan"),
    ],
)
def test_impossible_known_easiness_is_rejected(known, sentence):
    head = heads.create("cdml", embedding_dim=8, num_identities=5, easiness="known")
    with pytest.raises(ValueError, match=sentence):
        head(torch.randn(2, 8), torch.tensor([0, 1]), known)
