"""The published table of backbones: what the method's authors say about their nine networks.

Our counts reproduce every number of parameters to the unit, once it is said which parameters count: the table gives
all parameters of the four full networks, but only those that train of the others. The difference are the 512 gains of
the last normalisation, which stay 1. The GFLOPs of the eight IResNets are products (multiply-accumulates) plus three
operations for each number a BatchNorm gives; that is a fit, no source says so.
"""

from typing import Literal, NamedTuple


class Row(NamedTuple):
    """One network as published."""

    parameters: int
    counted: Literal["all", "trained"]  # which parameters `parameters` counts
    size_mib: float
    gflops: float
    cpu_ms: float  # on a machine that is not named


TABLE = {
    "r18": Row(24_025_600, "all", 91.65, 2.63, 46.40),
    "r34": Row(34_139_328, "all", 130.20, 4.48, 74.92),
    "r50": Row(43_590_848, "all", 166.28, 6.33, 108.02),
    "r100": Row(65_156_160, "all", 248.55, 12.13, 194.91),
    "r18_lite": Row(9_222_656, "trained", 35.70, 0.67, 16.82),
    "r34_lite": Row(11_754_336, "trained", 44.84, 1.13, 26.20),
    "r50_lite": Row(14_120_800, "trained", 53.87, 1.60, 39.39),
    "r100_lite": Row(19_521_312, "trained", 74.47, 3.05, 79.10),
    "lightweight": Row(5_086_432, "trained", 19.43, 0.098, 8.71),
}
