"""Agreement with pytorch-metric-learning on the losses that both have."""

import math

import pytest
import torch
from pytorch_metric_learning import losses

from cdmllab import heads

B, C, D = 12, 7, 6


def data():
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(B, D, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), torch.arange(B) % C


def ours(name, x, y, weights, **options):
    head = heads.create(name, embedding_dim=D, num_identities=C, **options).double()
    with torch.no_grad():
        head.centres.copy_(weights)
    loss = head(x, y).loss
    return loss, torch.autograd.grad(loss, [x, head.centres])


@pytest.mark.parametrize("backend", ["dense", "blocked"])
@pytest.mark.parametrize(
    ("name", "options", "peer"),
    [
        (
            "arcface",
            {"margin_rad": 0.5},
            lambda: losses.ArcFaceLoss(C, D, margin=math.degrees(0.5), scale=16),
        ),
        ("cosface", {"margin_cos": 0.35}, lambda: losses.CosFaceLoss(C, D, margin=0.35, scale=16)),
        ("normface", {}, lambda: losses.NormalizedSoftmaxLoss(C, D, temperature=1 / 16)),
        (
            "subcenter_arcface",
            {"margin_rad": 0.5, "centres_per_identity": 3},
            lambda: losses.SubCenterArcFaceLoss(
                num_classes=C, embedding_size=D, margin=math.degrees(0.5), scale=16, sub_centers=3
            ),
        ),
    ],
)
def test_margin_losses_agree_in_loss_and_gradients(name, options, peer, backend):
    x, y = data()
    library = peer().double()
    want = library(x, y)
    d_x, d_w = torch.autograd.grad(want, [x, library.W])
    got, (g_x, g_w) = ours(name, x, y, library.W.detach().T, scale=16.0, backend=backend, **options)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(g_x, d_x)
    torch.testing.assert_close(g_w, d_w.T)


@pytest.mark.parametrize(
    ("name", "options", "peer"),
    [
        ("triplet", {"margin": 0.2}, losses.TripletMarginLoss(margin=0.2)),
        ("contrastive", {}, losses.ContrastiveLoss()),
        ("circle", {"m": 0.25, "gamma": 64}, losses.CircleLoss(m=0.25, gamma=64)),
    ],
)
def test_pair_losses_are_the_librarys(name, options, peer):
    x, y = data()
    out = heads.create(name, embedding_dim=D, num_identities=C, **options)(x, y)
    torch.testing.assert_close(out.loss, peer(x, y))
    assert out.target_cos.shape == (B,)
    assert out.target_cos.isnan().all()


def test_pair_losses_exclude_ignored_samples():
    x, y = data()
    hole = y.clone()
    hole[3] = -1
    kept = hole != -1
    head = heads.create("triplet", embedding_dim=D, num_identities=C)
    torch.testing.assert_close(head(x, hole).loss, head(x[kept], y[kept]).loss)


def test_pair_losses_reject_other_options():
    with pytest.raises(ValueError, match="triplet has no option 'margin_rad'; it has: margin"):
        heads.create("triplet", embedding_dim=D, num_identities=C, margin_rad=0.5)


@pytest.mark.parametrize(
    "option",
    [
        {"scale": 32.0},
        {"learn_scale": True},
        {"keep_logits": True},
        {"backend": "sharded"},
        {"block": 8},
        {"products": "bfloat16"},
        {"compiled": False},
        {"sample_rate": 0.1},
        {"sample_seed": 1},
    ],
)
def test_pair_losses_reject_options_of_class_centres(option):
    with pytest.raises(ValueError, match=f"without class centres: it has no {next(iter(option))}"):
        heads.create("triplet", embedding_dim=D, num_identities=C, **option)


def test_names_are_all_buildable():
    for name in heads.names():
        assert name in repr(heads.create(name, embedding_dim=4, num_identities=3))
