"""Our networks against the original code: names, counts and outputs, recorded from runs of it.

The weights and images are `layout.by_formula` and `layout.images_by_formula`, in float64, so that
the recorded values can be reproduced. On random weights in float32, outputs and gradients were
equal bit for bit.
"""

from functools import cache

import pytest
import torch
from tests.backbones import layout

from cdmllab import backbones

# Backbone, options, number of entries, digest of names and shapes, parameters.
THEIRS = [
    # nhatky160103/DATN at 2bc8c12,
    # models/Recognition/Arcface_torch/backbones/iresnet_lightweight.py
    ("lightweight", {}, 203, "86d860a9be73912b", 5_086_432),
    # mk-minchul/CVLface at d3d09c9, models/iresnet/model.py, and mk-minchul/AdaFace at c60eaa7,
    # net.py
    ("ir_18", {}, 179, "9b03db244892568f", 24_020_352),
    ("ir_34", {}, 323, "6cc646fa020da34e", 34_134_080),
    ("ir_50", {}, 467, "8c9c14a2a94a7e45", 43_585_600),
    ("ir_101", {}, 917, "0ad392c858ba19ed", 65_150_912),
    # IrvingMeng/MagFace at 99bae61, models/iresnet.py
    ("r18", {"norm_eps": 2e-5}, 187, "b43157144ba624be", 24_025_600),
    ("r50", {"norm_eps": 2e-5}, 475, "5091cc2cacd4774e", 43_590_848),
]
# For both images the embedding at 0, 100 and 511, and its length.
EMBEDDINGS = {
    "lightweight": [[0.018394522923, -0.0886562239672, -0.0826328167176, 1.99230420272],
                    [0.0183771553454, -0.0886796808207, -0.0825165454601, 1.99207601769]],
    "ir_18": [[0.104098370138, -0.0156922040068, -0.0147370596083, 1.23142542966],
              [0.103375889687, -0.0160307773534, -0.0144909216033, 1.23124136533]],
    "r18": [[0.140027888919, -0.0173327143225, -0.00578194875941, 1.9739677632],
            [0.140288503006, -0.017381238687, -0.00573525389891, 1.97397191233]],
}  # fmt: skip
# AdaFace's code gives ir_18's embeddings divided by their lengths, and the lengths.
ADAFACE = [[0.0845348549987, -0.0127431216124, -0.0119674803308, 1.23142542966],
           [0.0839607022621, -0.0130200120015, -0.0117693589667, 1.23124136533]]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "entries", "digest", "parameters"), THEIRS)
def test_names_shapes_and_counts_are_those_of_the_code(name, options, entries, digest, parameters):
    with torch.device("meta"):
        net = backbones.create(name, **options)
    state = net.state_dict()
    assert (len(state), layout.digest(layout.shapes_of(state))) == (entries, digest)
    assert sum(p.numel() for p in net.parameters()) == parameters


@cache
@torch.no_grad()
def embeddings(name, **options):
    out = layout.by_formula(backbones.create(name, **options))(layout.images_by_formula())
    return torch.cat([out[:, [0, 100, 511]], out.norm(dim=1, keepdim=True)], 1)


def close(result, expected):
    torch.testing.assert_close(
        result, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize(
    ("name", "options"), [("lightweight", {}), ("ir_18", {}), ("r18", {"norm_eps": 2e-5})]
)
def test_embeddings_are_those_of_the_code(name, options):
    close(embeddings(name, **options), EMBEDDINGS[name])


def test_magfaces_eps_shows_in_the_embeddings():
    difference = (embeddings("r18") - embeddings("r18", norm_eps=2e-5)).abs().max()
    assert 1e-6 < difference < 1e-3


def test_adafaces_pair_is_direction_and_length_of_the_embeddings():
    result = embeddings("ir_18")
    close(torch.cat([result[:, :3] / result[:, 3:], result[:, 3:]], 1), ADAFACE)
