"""The published table of backbones: parameters, size and speed of the authors' nine networks.

Our counts reproduce every number of parameters exactly, but the table counts in two ways. For the
Lite networks it gives the trained parameters, without the 512 gains of the last normalisation,
which stay 1. For the others it gives all of them. The GFLOPs of the eight IResNets are what
ptflops prints for them. The file of the lightweight network (see `cdmllab.backbones.lightweight`)
follows other rules: plain multiply-accumulates, and a size that includes the buffers.
"""

from typing import Literal, NamedTuple


class PublishedBackbone(NamedTuple):
    """One network as published."""

    parameters: int
    counted: Literal["all", "trained"]  # which parameters `parameters` counts
    size_mib: float
    sized: Literal["all", "trained", "buffers"]  # what `size_mib` counts, see `complexity.Cost`
    gflops: float
    cpu_ms: float  # on a machine that is not named


TABLE = {
    "r18": PublishedBackbone(24_025_600, "all", 91.65, "all", 2.63, 46.40),
    "r34": PublishedBackbone(34_139_328, "all", 130.20, "all", 4.48, 74.92),
    "r50": PublishedBackbone(43_590_848, "all", 166.28, "all", 6.33, 108.02),
    "r100": PublishedBackbone(65_156_160, "all", 248.55, "all", 12.13, 194.91),
    "r18_lite": PublishedBackbone(9_222_656, "trained", 35.70, "trained", 0.67, 16.82),
    "r34_lite": PublishedBackbone(11_754_336, "trained", 44.84, "trained", 1.13, 26.20),
    "r50_lite": PublishedBackbone(14_120_800, "trained", 53.87, "trained", 1.60, 39.39),
    "r100_lite": PublishedBackbone(19_521_312, "trained", 74.47, "trained", 3.05, 79.10),
    "lightweight": PublishedBackbone(5_086_432, "all", 19.43, "buffers", 0.098, 8.71),
}
