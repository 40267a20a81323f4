"""Forces of pairs, triplets and softmaxes, against closed forms, the library and autograd."""

import math

import pytest
import torch
from pytorch_metric_learning.losses import TripletMarginLoss

from cdmllab import heads, margins
from cdmllab.analysis import pair_gradients

P = torch.tensor([0.2, 0.8, 1.4], dtype=torch.float64)
N = torch.tensor([1.3, 0.9, 0.4], dtype=torch.float64)


def on_circle(angle):
    return torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)


@pytest.mark.parametrize("k", range(3))
def test_triplet_forces_are_the_librarys(k):
    p, n = (a[k].clone().requires_grad_() for a in (P, N))
    x = on_circle(torch.stack([torch.zeros_like(p), p, -n]))
    triplets = tuple(torch.tensor([i]) for i in (0, 1, 2))
    loss = TripletMarginLoss(margin=0.35)(x, torch.tensor([0, 0, 1]), triplets)
    pull, slope = torch.autograd.grad(loss, (p, n))
    seen = pair_gradients.of_pairs("triplet", P, N)
    assert seen.pull[k].item() == pytest.approx(pull.item(), abs=1e-6)
    assert seen.push[k].item() == pytest.approx(-slope.item(), abs=1e-6)


def test_contrastive_pulls_always_and_pushes_within_its_margin():
    """The distance 2 sin(angle / 2) has the slope cos(angle / 2), and is 1 at 60 degrees."""
    seen = pair_gradients.of_pairs("contrastive", P, N)
    torch.testing.assert_close(seen.pull, torch.cos(P / 2.0))
    torch.testing.assert_close(seen.push, torch.cos(N / 2.0) * (math.pi / 3.0 > N))


def test_triplet_pulls_with_half_an_angles_cosine_or_not_at_all():
    seen = pair_gradients.of_pairs("triplet", P, N, margin=0.35)
    distance = 2.0 * (torch.sin(P / 2.0) - torch.sin(N / 2.0)) + 0.35
    torch.testing.assert_close(seen.pull, torch.cos(P / 2.0) * (distance > 0.0))
    assert 0.0 in seen.pull.tolist()


def test_unknown_pair_loss_is_named():
    with pytest.raises(ValueError, match="loss must be one of 'triplet', 'contrastive'; got 'circ"):
        pair_gradients.of_pairs("circle", P, N)


def test_softmax_forces_equal_autograd():
    policy = margins.create("arcface", margin_rad=0.3)
    p, n = P.clone().requires_grad_(), N.clone().requires_grad_()
    logits = torch.cat(
        [torch.cos(p + 0.3)[:, None], torch.cos(n)[:, None], torch.zeros(3, 8)], dim=1
    )
    loss = torch.nn.functional.cross_entropy(
        5.0 * logits, torch.zeros(3, dtype=torch.int64), reduction="sum"
    )
    pull, slope = torch.autograd.grad(loss, (p, n))
    seen = pair_gradients.of_softmax(policy, P, N, scale=5.0, num_identities=10)
    torch.testing.assert_close(seen.pull, pull)
    torch.testing.assert_close(seen.push, -slope)


def test_active_triplets_equal_a_count():
    x, y, _ = pair_gradients.around_centres(48.0, identities=5, of=5, each=3, dim=8, seed=1)
    active = total = 0
    for a in range(len(x)):
        for p in range(len(x)):
            for n in range(len(x)):
                if a != p and y[a] == y[p] and y[a] != y[n]:
                    gap = (x[a] - x[p]).norm() - (x[a] - x[n]).norm() + 0.35
                    active, total = active + int(gap > 0.0), total + 1
    assert 0 < active < total
    assert pair_gradients.active_triplets(3.0 * x, y) == active / total


def test_batch_without_triplets_is_refused():
    with pytest.raises(ValueError, match="two samples of one identity and a sample of another"):
        pair_gradients.active_triplets(torch.eye(3), torch.arange(3))


def test_random_samples_have_the_angle_to_their_centres():
    x, y, centres = pair_gradients.around_centres(40.0, identities=20, of=4, each=3, dim=16, seed=0)
    assert (x.shape, centres.shape, y.tolist()) == (
        (12, 16),
        (20, 16),
        [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3],
    )
    torch.testing.assert_close(
        (x * centres[y]).sum(dim=1), torch.full((12,), math.cos(math.radians(40.0))).double()
    )


def test_mean_weight_is_that_of_the_head():
    x, y, centres = pair_gradients.around_centres(40.0, identities=9, of=3, each=2, dim=6, seed=2)
    head = heads.create("arcface", embedding_dim=6, num_identities=9, scale=8.0).double()
    head.centres.data = centres.clone()
    losses = [head(x[k : k + 1], y[k : k + 1]).loss.item() for k in range(len(x))]
    want = sum(1.0 - math.exp(-loss) for loss in losses) / len(losses)  # L = -log p_y
    policy = margins.create("arcface")
    assert pair_gradients.mean_weight(policy, x, y, centres, scale=8.0) == pytest.approx(want)
