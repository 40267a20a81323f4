"""Heads as losses of pytorch-metric-learning: its values, miners, reducers and trainers."""

import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning import losses, miners, reducers, regularizers, trainers

from cdmllab import heads
from cdmllab.pml import HeadLoss

C, D = 10, 8


def made(name="arcface", c=C, d=D, **options):
    return HeadLoss(heads.create(name, embedding_dim=d, num_identities=c, **options))


def batch(n=24, d=D, dtype=torch.float32):
    return torch.randn(n, d, dtype=dtype, requires_grad=True), torch.randint(C, (n,))


PEERS = {
    "arcface": (
        {"margin_rad": math.radians(30.0)},
        lambda: losses.ArcFaceLoss(num_classes=C, embedding_size=2, margin=30, scale=64),
    ),
    "cosface": (
        {"margin_cos": 0.5},
        lambda: losses.CosFaceLoss(num_classes=C, embedding_size=2, margin=0.5, scale=64),
    ),
    "subcenter_arcface": (
        {"margin_rad": math.radians(30.0), "centres_per_identity": 3},
        lambda: losses.SubCenterArcFaceLoss(
            num_classes=C, embedding_size=2, margin=30, scale=64, sub_centers=3
        ),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", PEERS)
def test_expected_values_of_the_librarys_own_tests(name, dtype):
    """The case of its tests/losses: 180 embeddings on a half circle, scale 64, 30 degrees or 0.5.

    The expected loss is computed as there, from W and with a loop over the labels; past 180 degrees
    both continue with cos(theta) - m sin(m).
    """
    options, _ = PEERS[name]
    loss_func = made(name, d=2, **options)
    degrees = torch.deg2rad(torch.arange(180, dtype=torch.float64))
    embeddings = torch.stack([degrees.cos(), degrees.sin()], dim=1).to(dtype).requires_grad_()
    labels = torch.randint(C, (180,))
    loss = loss_func(embeddings, labels)
    loss.backward()
    cosines = F.normalize(embeddings.double()) @ F.normalize(loss_func.W.double(), dim=0)
    cosines = cosines.view(180, C, -1).amax(dim=2)
    plain = cosines.clone()
    margin = math.radians(30.0)
    for i, c in enumerate(labels):
        theta = torch.acos(cosines[i, c].detach().clamp(-1, 1))
        if name == "cosface":
            cosines[i, c] -= 0.5
        elif theta <= math.pi - margin:
            cosines[i, c] = torch.cos(theta + margin)
        else:
            cosines[i, c] = torch.cos(theta) - margin * math.sin(margin)
    want = F.cross_entropy(cosines * 64, labels)
    rtol = 1e-2 if dtype == torch.float16 else 1e-5
    torch.testing.assert_close(loss.double(), want, rtol=rtol, atol=0.0)
    assert embeddings.grad.isfinite().all()
    torch.testing.assert_close(
        loss_func.get_logits(embeddings).double(), plain * 64, rtol=rtol, atol=2e-3
    )


@pytest.mark.parametrize("name", PEERS)
def test_loss_gradients_and_mined_loss_equal_the_librarys(name):
    options, peer = PEERS[name]
    theirs = peer().double()
    ours = made(name, d=2, **options).double()
    with torch.no_grad():
        ours.head.centres.copy_(theirs.W.T)
    torch.testing.assert_close(ours.W, theirs.W.detach(), check_stride=False)
    x, y = batch(40, d=2, dtype=torch.float64)
    for mined in (None, miners.MultiSimilarityMiner()(x, y), miners.BatchHardMiner()(x, y)):
        results = []
        for loss_func, centres in ((theirs, theirs.W), (ours, ours.head.centres)):
            loss = loss_func(x, y, mined)
            results.append((loss, *torch.autograd.grad(loss, [x, centres])))
        (want, d_x, d_w), (got, g_x, g_w) = results
        torch.testing.assert_close(got, want)
        torch.testing.assert_close(g_x, d_x)
        torch.testing.assert_close(g_w, d_w.T)


def test_outliers_of_sub_centres():
    """The library's own test of outliers, with three centres for each of ten classes."""
    loss_func = made("subcenter_arcface", d=2, centres_per_identity=3)
    degrees = torch.deg2rad(torch.arange(180.0))
    embeddings = torch.stack([degrees.cos(), degrees.sin()], dim=1)
    labels = torch.randint(C, (180,))
    outliers, dominant = loss_func.get_outliers(embeddings, labels, threshold=75)
    assert dominant.shape == (2, C)
    own = (embeddings @ dominant)[torch.arange(180), labels]
    far = (own < math.cos(math.radians(75))).nonzero().flatten()
    assert outliers.tolist() == far.tolist()
    # The dominant centre is the one that most samples of the class are nearest to.
    centres = loss_func.head.directions()
    for c in labels.unique():
        nearest = (embeddings[labels == c] @ centres[c].T).argmax(dim=1)
        best = torch.bincount(nearest, minlength=3).argmax()
        torch.testing.assert_close(dominant[:, c], centres[c, best])


def test_outliers_skip_ignored_samples():
    loss_func = made(d=2)
    x = -loss_func.head.directions()[:3, 0]
    outliers, _ = loss_func.get_outliers(x, torch.tensor([0, -1, 2]))
    assert outliers.tolist() == [0, 2]


@pytest.mark.parametrize(
    "reducer",
    [
        reducers.MeanReducer(),
        reducers.SumReducer(),
        reducers.ThresholdReducer(low=8.0),
        reducers.AvgNonZeroReducer(),
        reducers.ClassWeightedReducer(torch.arange(1.0, C + 1.0)),
        reducers.DoNothingReducer(),
    ],
    ids=lambda reducer: type(reducer).__name__,
)
def test_reducers_reduce_as_for_the_librarys_loss(reducer):
    theirs = losses.ArcFaceLoss(num_classes=C, embedding_size=D, margin=30, reducer=reducer)
    head = heads.create("arcface", embedding_dim=D, num_identities=C, margin_rad=math.radians(30.0))
    ours = HeadLoss(head, reducer=reducer)
    with torch.no_grad():
        head.centres.copy_(theirs.W.T)
    x, y = batch()
    want, got = theirs(x, y), ours(x, y)
    if isinstance(want, dict):
        want, got = (values["loss"]["losses"] for values in (want, got))
    torch.testing.assert_close(got, want)


def test_regularizers_are_added():
    x, y = batch()
    plain = made()
    ours = HeadLoss(
        plain.head,
        embedding_regularizer=regularizers.LpRegularizer(),
        embedding_reg_weight=0.5,
        weight_regularizer=regularizers.LpRegularizer(),
        weight_reg_weight=0.25,
    )
    want = plain(x, y) + 0.5 * x.norm(dim=1).mean() + 0.25 * plain.W.norm(dim=0).mean()
    torch.testing.assert_close(ours(x, y), want)
    assert ours.sub_loss_names() == ["loss", "weight_reg_loss", "embedding_reg_loss"]


def test_ignored_samples_are_left_out_of_the_mean():
    loss_func = made("cdml")
    x, y = batch()
    hole = y.clone()
    hole[::3] = -1
    kept = hole != -1
    torch.testing.assert_close(loss_func(x, hole), loss_func(x[kept], y[kept]))
    nothing = loss_func(x, torch.full_like(y, -1))
    assert nothing == 0.0
    nothing.backward()


def test_statistics_are_those_of_the_head():
    loss_func = HeadLoss(
        heads.create("adaface", embedding_dim=D, num_identities=C), collect_stats=True
    ).eval()
    x, y = batch()
    loss_func(x, y)
    out = loss_func.head(x, y)
    assert loss_func.avg_margin == pytest.approx(math.degrees(out.margin_rad.mean()), rel=1e-5)
    assert loss_func.avg_angle == pytest.approx(
        math.degrees(out.target_cos.acos().mean()), rel=1e-5
    )
    assert {"avg_margin", "avg_angle"} <= set(loss_func._record_these_stats)


# The library formats its loss, a tensor with a gradient, for a progress bar.
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True:UserWarning")
@pytest.mark.parametrize("name", ["cdml", "magface", "uniface", "softmax"])
def test_trainer_trains_network_and_centres(name):
    loss_func = made(name)
    first = loss_func.W.detach().clone()
    data = torch.utils.data.TensorDataset(torch.randn(40, 5), torch.arange(40) % C)
    net = torch.nn.Linear(5, D)
    measured = []
    trainer = trainers.MetricLossOnly(
        models={"trunk": net},
        optimizers={
            "trunk_optimizer": torch.optim.SGD(net.parameters(), lr=0.05),
            "metric_loss_optimizer": torch.optim.SGD(loss_func.parameters(), lr=0.05),
        },
        batch_size=20,
        loss_funcs={"metric_loss": loss_func},
        dataset=data,
        mining_funcs={"tuple_miner": miners.MultiSimilarityMiner()},
        dataloader_num_workers=0,
        data_device=torch.device("cpu"),
        iterations_per_epoch=4,
        end_of_iteration_hook=lambda it: measured.append(float(it.losses["metric_loss"].detach())),
    )
    trainer.train(num_epochs=2)
    assert len(measured) == 8
    assert all(map(math.isfinite, measured))
    assert not torch.equal(loss_func.W.detach(), first)


def test_head_without_centres_is_refused():
    triplet = heads.create("triplet", embedding_dim=D, num_identities=C)
    with pytest.raises(ValueError, match="a head with class centres is needed, but 'triplet' has"):
        HeadLoss(triplet)


def test_reference_embeddings_and_missing_labels_are_refused_as_in_the_library():
    x, y = batch()
    with pytest.raises(ValueError, match="ref_emb is not supported"):
        made()(x, y, ref_emb=x + 1.0, ref_labels=y)
    with pytest.raises(ValueError, match="labels"):
        made()(x)


def test_package_does_not_import_the_library():
    code = (
        "import sys, cdmllab\n"
        "for name in cdmllab.__all__: getattr(cdmllab, name)\n"
        "assert 'pytorch_metric_learning' not in sys.modules\n"
        "import cdmllab.pml\n"
        "assert 'pytorch_metric_learning' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
