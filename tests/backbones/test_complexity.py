import copy
import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cdmllab import backbones
from cdmllab.backbones import complexity
from cdmllab.results import published_backbones

PUBLISHED = list(published_backbones.TABLE)


@pytest.fixture(scope="module")
def costs():
    return {name: complexity.cost(backbones.create(name)) for name in PUBLISHED}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_equal_the_published_to_the_unit(costs, name):
    row, own = published_backbones.TABLE[name], costs[name]
    assert own.parameters - own.trained_parameters == 512  # the gains of the last normalisation
    assert {"all": own.parameters, "trained": own.trained_parameters}[row.counted] == row.parameters


@pytest.mark.parametrize("name", PUBLISHED[:-1])
def test_gflops_equal_the_printed_ones(costs, name):
    assert round(costs[name].published_gflops, 2) == published_backbones.TABLE[name].gflops


# Printed by ptflops 0.7.5 (backend "pytorch") for the networks in the method's repository at commit
# 2bc8c12.
PTFLOPS = {
    "r18": 2_626_062_848,
    "r34": 4_480_768_512,
    "r50": 6_333_667_840,
    "r100": 12_127_590_912,
    "r18_lite": 669_173_760,
    "r50_lite": 1_598_132_224,
    "lightweight": 106_258_624,
}


@pytest.mark.parametrize("name", PTFLOPS)
def test_gflops_are_those_of_ptflops_to_the_unit(costs, name):
    assert round(1e9 * costs[name].published_gflops) == PTFLOPS[name]


def test_lightweight_counts_equal_those_in_its_file(costs):
    """The published lightweight network; its size of 19.43004608154297 includes buffers."""
    own, row = costs["lightweight"], published_backbones.TABLE["lightweight"]
    assert (own.parameters, own.macs) == (5_086_432, 98_297_920)
    assert round(own.gmacs, 3) == row.gflops == 0.098
    assert own.size_mib("buffers") == pytest.approx(
        19.43004608154297, abs=2e-4
    )  # a count takes 8 bytes there


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones_except_two(costs, name):
    """35.70 and 130.20 do not follow from the published counts; the other seven agree."""
    row = published_backbones.TABLE[name]
    difference = abs(costs[name].size_mib(row.sized) - row.size_mib)
    assert (difference > 0.01) == (name in ("r18_lite", "r34"))
    assert difference < 0.53


def test_macs_of_the_stem_are_those_of_the_formula():
    stem = complexity.layers(backbones.create("r18_lite"))[0]
    assert (stem.name, stem.kind, stem.parameters) == ("conv1", "Conv2d", 32 * 27)
    assert stem.macs == 112 * 112 * 32 * 27
    assert (stem.outputs, stem.side, stem.receptive_field) == (112 * 112 * 32, 112, 3)


def test_depthwise_macs_count_one_channel_each():
    by_name = {layer.name: layer for layer in complexity.layers(backbones.create("lightweight"))}
    assert by_name["layer1.0.conv1.depthwise"].macs == 112 * 112 * 32 * 9
    assert by_name["layer1.0.conv1.pointwise"].macs == 112 * 112 * 32 * 32


def test_stages_add_up_to_the_total():
    net = backbones.create("r18_lite")
    parts = complexity.stages(
        net,
        ["conv1", "bn1", "prelu", "layer1", "layer2", "layer3", "layer4", "bn2", "fc", "features"],
    )
    total = complexity.cost(net)
    assert sum(p[0] for p in parts) == total.parameters
    assert sum(p[1] for p in parts) == total.macs
    with pytest.raises(ValueError, match="no layer whose name begins with 'layer5'"):
        complexity.stages(net, ["layer5"])


def test_receptive_field_equals_the_reach_of_the_gradient():
    """All weights positive, all normalisations neutral: the middle output's gradient covers its
    receptive field.
    """
    net = backbones.create("r18_lite", size=256, width=2, embedding_dim=2).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.01 if parameter.ndim > 1 else 1.0)
    x = torch.ones(1, 3, 256, 256, dtype=torch.float64, requires_grad=True)
    net.trunk(x)[0, 0, 8, 8].backward()
    touched = (x.grad[0].abs().sum(0) > 0).nonzero()
    width = touched.max(0).values - touched.min(0).values + 1
    (_, _, seen) = complexity.stages(net, ["layer4"])[0]
    assert width.tolist() == [seen, seen] == [183, 183]


def test_counting_changes_nothing():
    net = backbones.create("small", width=8)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.train()
    complexity.cost(net)
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


# Each technique against the plain Lite network: the remaining share of parameters and MACs.
TECHNIQUES = [
    ({"width": 16}, 0.424, 0.257),
    ({"block": "separable"}, 0.737, 0.161),
    ({"block": "bottleneck"}, 0.761, 0.179),
    ({"downsample": "early"}, 1.0, 0.672),
    ({"downsample": "stem"}, 1.0, 0.852),
    ({"flatten": "depthwise"}, 0.319, 0.991),
]


@pytest.mark.parametrize(("options", "parameters", "macs"), TECHNIQUES)
def test_techniques_reduce_parameters_and_macs(costs, options, parameters, macs):
    plain, own = costs["r18_lite"], complexity.cost(backbones.create("r18_lite", **options))
    assert math.isclose(own.parameters / plain.parameters, parameters, abs_tol=2e-3)
    assert math.isclose(own.macs / plain.macs, macs, abs_tol=2e-3)


@pytest.mark.parametrize("name", ["small", "lightweight", "r18_lite", "ir_18", "dlib_resnet"])
def test_macs_are_half_of_the_operations_counted_by_torch(name):
    net = backbones.create(name).eval()
    with FlopCounterMode(display=False) as counter:
        copy.deepcopy(net).to("meta")(
            torch.zeros(1, net.channels, net.size, net.size, device="meta")
        )
    assert 2 * complexity.cost(net).macs == counter.get_total_flops() > 0
