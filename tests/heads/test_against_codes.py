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
SIZES = [40, 7, 300, 1, 25]  # images of each identity

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
    # SphereFace2-C, ydwen/opensphere, opensphere/module/head/sphereface2.py at a679e82. That code
    # brings its class centres to length 1 before each step; here their gradient is that of
    # centres divided by their length.
    ("sphereface2", {"gradient": THROUGH}, 33.545561272123386,
     [49.7939633063, 5.5806912936, 6.7112820792, -2.7074184018, -1.7980089531, 0.9860829685],
     [-1.1452974375, -0.2059069945, 1.6629648045, -2.8775211214, 0.8938299543]),
    ("sphereface2", {"gradient": THROUGH, "positive_share": 0.8, "margin_cos": 0.5},
     38.918715127661194,
     [58.6299574924, 7.2906686456, 5.2989732037, -2.5351029763, -1.2888465111, 0.7836677244],
     [-0.3840421318, -0.544387015, 0.9542070584, -3.2175286814, 1.4699807]),
    # UniFace, CVI-SZU/UniFace, head.py at 00ade47: Unified_Cross_Entropy_Loss
    ("uniface", {"clip_logits": True}, 5.65996496529764,
     [8.7655283074, 0.1668393037, 0.9343815606, 0.1785612748, -0.5592767123, 0.13938773],
     [-0.4146713782, 0.0672981025, 0.4197647894, -0.1069426674, 0.2140487715]),
    ("uniface", {"clip_logits": True, "negative_weight": 0.5}, 4.848972422120458,
     [5.9297418485, 0.0834196518, -0.222400698, 0.0892806374, -0.5631350995, 0.0501990059],
     [-0.2355322416, 0.1365127733, 0.3841452851, -0.0534713337, 0.2389162922]),
    # ArcNegFace, JDAI-CV/FaceX-Zoo, head/ArcNegFace.py at 16b793a
    ("arcnegface", {}, 4.861041840316944,
     [12.8903760231, 2.5429854848, -0.6786450471, -0.1525539757, 0.0208299542, -0.0446664312],
     [-0.4410210878, 0.8379518476, 0.7590052962, -1.0320160449, 0.2055860701]),
    # LDAM, kaidic/LDAM-DRW, losses.py at 2536330, on a NormedLinear
    ("ldam", {"class_sizes": SIZES}, 4.384880980728465,
     [5.5739562204, 3.3182446394, -0.2403058379, -1.085774136, -0.0118344795, -0.0145893349],
     [0.0890723176, 0.1322021984, 0.3162737521, -0.7366041831, -0.0534083876]),
    # haqishen/Google-Landmark-Recognition-2020-3rd-Place-Solution at a7947ff: the margins of
    # train.py in ArcFaceLossAdaptiveMargin of models.py
    ("dynamic_arcface", {"class_sizes": SIZES, "centres_per_identity": 1}, 3.6683911133551512,
     [3.8287783254, 3.4612687535, -0.2399822905, -0.6450606913, -0.0123764721, -0.0308350057],
     [0.1432308165, 0.2392104082, 0.2662449493, -0.5037466012, -0.0683194592]),
    # google-research/google-research, logit_adjustment/utils.py at 1d4d2f1, on s times the cosine
    ("logit_adjustment", {"class_sizes": SIZES}, 3.841374422886899,
     [1.9722137486, 3.2899509706, -0.0192899176, -1.0925721199, -0.0048541824, 0.0840470549],
     [0.3294502077, 0.1728547311, 0.0613409425, -0.5808415801, -0.1000317504]),
    ("logit_adjustment", {"class_sizes": SIZES, "tau": 0.5}, 3.2017653458671163,
     [1.4557257438, 3.3194521117, -0.0664860115, -1.1081953646, -0.0018616317, 0.0325122563],
     [0.2756564958, 0.0985764123, 0.0709648233, -0.5893969418, -0.1060967921]),
]  # fmt: skip

# Where the learnt bias of those starts, and its gradient.
BIASES = [
    ("sphereface2", {"gradient": THROUGH}, 3.1309355845567524, 2.336298985129194),
    ("sphereface2", {"gradient": THROUGH, "positive_share": 0.8, "margin_cos": 0.5},
     6.000000000000006, 2.4834157278384383),
    ("uniface", {"clip_logits": True}, 3.9120230054281464, -0.4102681665217922),
    ("uniface", {"clip_logits": True, "negative_weight": 0.5}, 3.9120230054281464,
     0.05221593847991085),
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
    out, (d_x, d_centres, *_) = gradients(head, x, y)
    near = {"rtol": 1e-8, "atol": 1e-9}
    torch.testing.assert_close(out.loss, torch.tensor(loss, dtype=torch.float64), **near)
    torch.testing.assert_close(100 * d_x[:, 0], torch.tensor(on_x, dtype=torch.float64), **near)
    torch.testing.assert_close(
        d_centres[:, 1], torch.tensor(on_centres, dtype=torch.float64), **near
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "options", "start", "slope"), BIASES)
def test_learnt_bias_is_that_of_the_code(name, options, start, slope, backend):
    size = {"embedding_dim": D, "num_identities": C, "scale": 8.0}
    head = heads.create(name, **size, backend=backend, **options).double()
    x, y, centres = batch()
    with torch.no_grad():
        head.centres.copy_(centres)
    assert float(head.policy.bias.detach()) == pytest.approx(start, rel=1e-7)
    gradients(head, x, y)
    assert float(head.policy.bias.grad) == pytest.approx(slope, rel=1e-10)


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
