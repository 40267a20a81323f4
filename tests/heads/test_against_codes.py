"""Losses and gradients of other people's public code on one batch, recorded from a run of it.

The values are the loss, the gradient of the first coordinate of each embedding (times 100) and that
of the second coordinate of each class centre, in double precision, at scale 8. The batch has target
cosines of 0.81, -0.86, 0.67, -0.40, 0.34 and 0.84.
"""

import math

import pytest
import torch
from tests.heads.variants import gradients

from cdmllab import heads, margins

B, C, D = 6, 5, 4
BACKENDS = ["dense", "blocked", "sharded"]
ARC, COS, THROUGH = (
    {"margin_list": (1.0, 0.5, 0.0)},
    {"margin_list": (1.0, 0.0, 0.4)},
    "straight_through",
)
MV_ARC = {"margin_cos": 0.0, "margin_rad": 0.5}
FILTER = {"interclass_filtering_threshold": 0.3}

CODES = [
    # MagFace, models/magface.py at 99bae61: MagLinear and MagLoss with lambda_g 35
    ("magface", {"easy_margin": True}, 6.212058552446461,
     [9.7274216137, 4.3266750585, -0.8012206627, -1.1011017192, -0.0291495277, -0.0681297607],
     [0.0009991148, 0.4386824008, 0.5365812418, -1.0703077409, 0.131014157]),
    ("magface", {}, 7.048865717069917,
     [9.7274216137, 4.5726533891, -0.8012206627, -0.3658242148, -0.0291495277, -0.0681297607],
     [0.001252404, 0.5863120152, 0.5365838288, -0.7777977861, 0.1309840729]),
    # MV-Softmax, xiaoboCASIA/SV-X-Softmax, fc_layers.py at de3a82d
    ("mv_softmax", {"easy_margin": True}, 5.752259728183074,
     [10.2035519623, 4.0551652564, -0.036678691, -1.0694421254, -0.0234343073, -0.0199808274],
     [0.0541921449, 0.201296347, 0.3891440683, -0.8629286436, -0.0196912656]),
    ("mv_softmax", {"beyond_pi": "none"}, 6.685571692708077,
     [10.2035519623, 4.0554508672, -0.036678691, -1.0695039238, -0.0234343073, -0.0199808274],
     [0.0542205802, 0.2012872862, 0.3891441688, -0.8629625648, -0.0197002666]),
    ("mv_softmax", {**MV_ARC, "easy_margin": True}, 6.242595313912283,
     [12.7487172896, 4.0551652564, -0.5481451606, -1.0694421254, 0.0255249857, -0.0600432115],
     [0.0079087591, 0.4136448291, 0.5234186986, -1.1642730867, 0.120784584]),
    ("mv_softmax", {**MV_ARC, "beyond_pi": "none"}, 6.948845384761573,
     [12.7487172896, 4.3284306914, -0.5481451606, -0.6287985017, 0.0255249857, -0.0600432115],
     [0.0079376891, 0.5677271161, 0.5234188037, -0.9708464444, 0.1207781161]),
    # NPCFace, JDAI-CV/FaceX-Zoo, head/NPCFace.py at f8f3cf1
    ("npcface", {"easy_margin": True}, 5.865706699984314,
     [12.3377699317, 3.6874505576, -0.684087465, -1.0779609063, -0.0254266223, -0.0641794482],
     [-0.0149500901, 0.444682199, 0.5260146248, -1.0740745831, 0.1087312562]),
    # arcface_torch, recognition/arcface_torch/losses.py at 7fadd42: CombinedMarginLoss
    ("arcface_torch", ARC, 4.80197932382201,
     [8.3613060871, 3.3179029445, -0.3102065736, -1.0857555836, -0.0378508207, -0.015152015],
     [0.0465067781, 0.1645019472, 0.4064394688, -0.9625321242, 0.0744881425]),
    ("arcface_torch", COS, 5.105579150949197,
     [8.5463359308, 3.3183084661, -0.3075742457, -1.085758187, -0.0287461818, -0.0154187183],
     [0.0411273678, 0.1795624445, 0.406468044, -0.8883280488, 0.0289502883]),
    ("arcface_torch", {"margin_list": (1.0, 0.3, 0.2)}, 3.800763555677163,
     [5.5968621887, 3.3180786278, -0.271707565, -1.0856437101, -0.0101869514, -0.0127985838],
     [0.1120824769, 0.0607153809, 0.3589417185, -0.7310930836, -0.0627795994]),
    ("arcface_torch", {"margin_list": (0.9, 0.4, 0.15)}, 3.5169079555514884,
     [4.6153040664, 3.3179370077, -0.2534914538, -1.0855731767, -0.0072875303, -0.0115853725],
     [0.1418073677, 0.0208005281, 0.3342000746, -0.703810471, -0.0766618037]),
    ("arcface_torch", {**ARC, **FILTER}, 3.2015992070258945,
     [4.1930373311, 3.3179029445, -0.6089512262, -0.5608135502, -0.0378508207, 0.0015616895],
     [-0.0223773653, 0.4051183135, 0.3110221907, -0.8889397897, 0.086562576]),
    ("arcface_torch", {**COS, **FILTER}, 3.4802048908907314,
     [4.6843875754, 3.3183084661, -0.5019699492, -0.5608258816, -0.0287461818, 0.0020317885],
     [-0.0250533678, 0.4143023721, 0.3024667752, -0.8148184947, 0.0410589265]),
]  # fmt: skip


def batch():
    lengths = torch.tensor([4.0, 12.0, 30.0, 60.0, 100.0, 140.0], dtype=torch.float64)
    x = torch.sin(torch.arange(1, B * D + 1, dtype=torch.float64)).view(B, D)
    centres = torch.sin(1.7 * torch.arange(100, 100 + C * D, dtype=torch.float64)).view(C, D)
    return x * lengths.unsqueeze(1), torch.tensor([0, 1, 2, 3, 4, 1]), centres


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "options", "loss", "on_x", "on_centres"), CODES)
def test_loss_and_gradients_are_those_of_the_code(name, options, loss, on_x, on_centres, backend):
    size = {"embedding_dim": D, "num_identities": C, "scale": 8.0}
    head = heads.create(name, **size, backend=backend, **options).double()
    x, y, centres = batch()
    with torch.no_grad():
        head.centres.copy_(centres)
    out, (d_x, d_centres) = gradients(head, x, y)
    near = {"rtol": 1e-8, "atol": 1e-9}
    torch.testing.assert_close(out.loss, torch.tensor(loss, dtype=torch.float64), **near)
    torch.testing.assert_close(100 * d_x[:, 0], torch.tensor(on_x, dtype=torch.float64), **near)
    torch.testing.assert_close(
        d_centres[:, 1], torch.tensor(on_centres, dtype=torch.float64), **near
    )


def test_arcface_torch_follows_its_margin_list():
    """cos(theta + 0.5) with a slope of 1, also past pi - 0.5, where it rises again."""
    policy = margins.arcface_torch(margin_list=[1.0, 0.5, 0.0])
    theta = torch.tensor([0.3, 1.0, 3.0], dtype=torch.float64)
    cosines = torch.cos(theta).requires_grad_()
    target = policy.margined(cosines, margins.Batch(torch.zeros(3), cosines, torch.ones(3)))
    torch.testing.assert_close(target.detach(), torch.cos(theta + 0.5))
    (slope,) = torch.autograd.grad(target.sum(), cosines)
    assert torch.equal(slope, torch.ones_like(slope))


def test_arcface_torch_is_a_name_for_configs_too():
    assert margins.recipes() == ("arcface_torch",)
    assert "arcface_torch" not in margins.names()
    assert margins.options("arcface_torch") == {"margin_list": (1.0, 0.5, 0.0)}
    head = heads.create("arcface_torch", embedding_dim=4, num_identities=3, margin_list=[1, 0, 0.4])
    assert "arcface_torch" in repr(head)
    assert "cos θ - m, m = 0.4" in repr(head)
    with pytest.raises(ValueError, match=r"did you mean 'arcface_torch'\?"):
        margins.create("arcface_torhc")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            (1.35, 0.0, 0.0),
            r"arcface_torch has no loss for margin_list \(1.35, 0, 0\): it needs m1 = 1 and m3 = 0",
        ),
        ((1.0, 0.5, -0.1), "arcface_torch has no loss for margin_list"),
        ((1.0, 0.5), r"margin_list must be three numbers, m1, m2 and m3; got \(1.0, 0.5\)"),
        (0.5, "margin_list must be three numbers, m1, m2 and m3; got 0.5"),
        ((1.0, "half", 0.0), "margin_list must be three numbers"),
        ((1.0, math.nan, 0.0), "margin_list must be three finite numbers"),
        ((1.0, 4.0, 0.0), r"margin_rad must lie in \[0, 3.14159\]"),
    ],
)
def test_margin_list_without_a_loss_is_rejected(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        margins.arcface_torch(margin_list=given)
