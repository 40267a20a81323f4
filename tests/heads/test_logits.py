"""Logits without labels, and interclass filtering of negatives."""

import math

import pytest
import torch
from tests.heads.variants import data, gradients, make

from cdmllab import heads

BACKENDS = ["dense", "blocked", "sharded"]


def by_hand(x, centre):
    return float(x @ centre / (x.norm() * centre.norm()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["arcface", "subcenter_arcface", "adacos", "liarcface"])
def test_logits_are_the_scale_times_the_largest_cosine_of_each_identity(name, backend):
    head, (x, _) = make(name, backend), data()
    result = head.logits(x)
    scale = float(head.policy.current_scale(head.scale))
    groups = head.centres.detach().unflatten(0, (9, -1))
    want = [[scale * max(by_hand(e, w) for w in group) for group in groups] for e in x]
    torch.testing.assert_close(result.detach(), torch.tensor(want, dtype=torch.float64))


@pytest.mark.parametrize("backend", BACKENDS)
def test_logits_of_plain_softmax_are_linear(backend):
    head, (x, _) = make("softmax", backend), data()
    with torch.no_grad():
        head.bias.copy_(torch.arange(9.0))
    torch.testing.assert_close(head.logits(x), x @ head.centres.T + head.bias)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["softmax", "arcface", "subcenter_arcface"])
def test_logits_are_those_that_a_batch_keeps(name, backend):
    head, (x, y) = make(name, backend, keep_logits=True), data()
    torch.testing.assert_close(head.logits(x).detach(), head(x, y).logits)
    assert torch.equal(head.logits(x).argmax(dim=1), head.nearest(x))


@pytest.mark.parametrize("backend", ["dense", "blocked"])
@pytest.mark.parametrize("name", ["softmax", "normface"])
def test_cross_entropy_of_the_logits_is_the_loss_without_a_margin(name, backend):
    x, y = data()
    _, want = gradients(make(name, backend, learn_scale=name == "normface"), x, y)
    head = make(name, backend, learn_scale=name == "normface")
    x.requires_grad_()
    torch.nn.functional.cross_entropy(head.logits(x), y).backward()
    for got, expected in zip([x.grad, *(p.grad for p in head.parameters())], want, strict=True):
        torch.testing.assert_close(got, expected)


def test_logits_of_a_sharded_head_reject_a_gradient():
    head, (x, _) = make("arcface", "sharded"), data()
    assert not head.logits(x).requires_grad
    with pytest.raises(
        ValueError, match=r"sharded head have no gradient: call it under torch\.no_grad\(\)"
    ):
        head.logits(x.requires_grad_())
    with torch.no_grad():
        assert head.logits(x).shape == (6, 9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: x.tolist(), "embeddings must be a Tensor, got list"),
        (lambda x: x[:, :3], r"embeddings must have shape \(b, 5\), got \(6, 3\)"),
        (lambda x: x.long(), "embeddings must be floating point, got torch.int64"),
    ],
)
def test_logits_of_bad_embeddings_are_rejected(change, sentence, backend):
    with pytest.raises(ValueError, match=sentence):
        make("arcface", backend).logits(change(data()[0]))


def at(*degrees):
    """Points on the circle; shape (n, 2)."""
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([torch.cos(angles), torch.sin(angles)], dim=1)


def circle_head(backend, threshold, name="normface", **options):
    """Class centres at 0, 20, 80 and 200 degrees."""
    head = heads.create(
        name,
        embedding_dim=2,
        num_identities=4,
        scale=4.0,
        backend=backend,
        interclass_filtering_threshold=threshold,
        **options,
    ).double()
    with torch.no_grad():
        head.centres.copy_(at(0, 20, 80, 200))
    return head


@pytest.mark.parametrize("backend", BACKENDS)
def test_negative_above_the_threshold_counts_as_a_right_angle(backend):
    """For a sample of identity 0 at 5 degrees, identity 1 at cos 15° = 0.966 is filtered at 0.9."""
    head, x, y = circle_head(backend, 0.9), at(5), torch.tensor([0])
    out, (d_x, d_centres, *_) = gradients(head, x, y)
    c = [math.cos(math.radians(d)) for d in (5, 15, 75, 195)]
    rest = [math.exp(4 * z) for z in (0.0, c[2], c[3])]
    own = math.exp(4 * c[0])
    assert float(out.loss.detach()) == pytest.approx(-math.log(own / (own + sum(rest))), rel=1e-12)
    assert (d_centres[1] == 0.0).all()
    assert (d_centres[[0, 2, 3]].abs().amax(dim=1) > 0.0).all()
    # The slope by the angle: s (p_2 sin' + p_3 sin' - (1 - p_0) sin'), without identity 1.
    p = [own / (own + sum(rest)), *(e / (own + sum(rest)) for e in rest)]
    slope = 4 * ((p[0] - 1) * -math.sin(math.radians(5)) + p[2] * math.sin(math.radians(75)))
    slope += 4 * p[3] * math.sin(math.radians(195))
    tangent = at(95)[0]
    assert float(d_x[0] @ tangent) == pytest.approx(slope, rel=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_positive_centre_is_never_filtered(backend):
    x, y = at(1, 79), torch.tensor([0, 2])
    filtered, free = circle_head(backend, 0.99), circle_head(backend, 0.0)
    assert torch.equal(filtered(x, y).sample_loss, free(x, y).sample_loss)
    assert torch.equal(filtered(x, y).target_cos, free(x, y).target_cos)


@pytest.mark.parametrize("backend", BACKENDS)
def test_statistics_see_the_filtered_negatives(backend):
    """The hardest negative of the sample at 5 degrees is then the centre at 75 degrees."""
    head = circle_head(backend, 0.9, "cdml", easiness="gap", shape="linear")
    want = (math.cos(math.radians(5)) - math.cos(math.radians(75))) / 2
    assert float(head(at(5), torch.tensor([0])).easiness) == pytest.approx(want)
    head = circle_head(backend, 0.2, "cdml", easiness="gap", shape="linear", detach_margin=False)
    out, grads = gradients(
        head, at(5), torch.tensor([0])
    )  # all but the one at 195 degrees are 0 now
    assert float(out.easiness) == pytest.approx(math.cos(math.radians(5)) / 2)
    assert (grads[1][[1, 2]] == 0.0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_kept_logits_are_unfiltered(backend):
    head = circle_head(backend, 0.9, keep_logits=True)
    x = at(5).requires_grad_()
    out = head(x, torch.tensor([0]))
    kept = out.logits.clone()
    out.loss.backward()
    torch.testing.assert_close(kept, head.logits(x.detach()).detach())
    assert torch.equal(out.logits, kept)


@pytest.mark.parametrize("value", [-0.1, 1.5, "0.3", math.nan])
def test_threshold_out_of_range_is_rejected(value):
    with pytest.raises(ValueError, match=r"interclass_filtering_threshold must lie in \[0, 1\]"):
        circle_head("dense", value)


def test_threshold_needs_cosines():
    with pytest.raises(
        ValueError, match="the logits of softmax are not cosines, so it cannot have statistics"
    ):
        circle_head("dense", 0.5, "softmax")
    with pytest.raises(
        ValueError, match="without class centres: it has no interclass_filtering_threshold"
    ):
        heads.create(
            "triplet", embedding_dim=2, num_identities=3, interclass_filtering_threshold=0.4
        )
