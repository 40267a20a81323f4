"""Paired differences: intervals, families, equivalence and power, against scipy and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from cdmllab.results.paired import family, paired, pairs_for_equivalence


def test_detectable_difference_is_detected_with_80_percent_power():
    rng, n = np.random.default_rng(0), 10
    differences = rng.standard_normal((4000, n))
    detectable = np.mean(
        [paired(row, np.zeros(n)).detectable / row.std(ddof=1) for row in differences[:5]]
    )
    detected = [paired(row + detectable, np.zeros(n)).p < 0.05 for row in differences]
    assert np.mean(detected) == pytest.approx(0.8, abs=0.06)


def test_paired_handles_zero_spread_and_refuses_a_single_pair():
    same = paired(np.ones(3), np.ones(3))
    assert (same.mean, same.sd, same.p) == (0.0, 0.0, 1.0)
    assert not math.isnan(same.low)
    with pytest.raises(ValueError, match="two values or more"):
        paired(np.ones(1), np.ones(1))


def test_verdicts_of_a_family_follow_adjusted_p_values():
    """Three of four differences exclude zero as single tests, only the clearest in the family."""
    base = np.arange(-3.5, 4.0)
    single = {
        "clear": paired(base - 6.0, np.zeros(8)),
        "near": paired(base + 2.2, np.zeros(8)),
        "nearer": paired(base + 2.3, np.zeros(8)),
        "none": paired(base + 0.1, np.zeros(8)),
    }
    assert [d.verdict for d in single.values()] == [
        "lower",
        "higher",
        "higher",
        "not distinguishable",
    ]
    together = family(single)
    assert [d.verdict for d in together.values()] == ["lower", *["not distinguishable"] * 3]
    assert together["clear"].p_family == pytest.approx(4 * single["clear"].p)
    assert together["nearer"].p_family == pytest.approx(3 * single["nearer"].p)
    assert together["none"].p_family == pytest.approx(single["none"].p)
    assert together["near"][:-1] == single["near"][:-1]  # interval and p-value stay
    assert family({"alone": single["near"]})["alone"].verdict == "higher"


def test_identical_arms_do_not_count_as_a_test():
    same, apart = paired(np.ones(8), np.ones(8)), paired(np.arange(8.0), np.full(8, 1.2))
    adjusted = family({"same": same, "apart": apart})
    assert adjusted["same"].verdict == "not distinguishable"
    assert adjusted["apart"].p_family == apart.p
    assert family({"same": same})["same"].p_family == 1.0
    shifted = paired(np.ones(8), np.zeros(8))  # no spread, but not identical
    assert family({"shifted": shifted, "apart": apart})["shifted"].verdict == "higher"


def test_equivalence_is_two_one_sided_tests():
    d = np.random.default_rng(5).normal(0.05, 0.2, 12)
    got = paired(d, np.zeros(12)).within(0.2)
    above = stats.ttest_1samp(d, -0.2, alternative="greater").pvalue
    below = stats.ttest_1samp(d, 0.2, alternative="less").pvalue
    assert got.p == pytest.approx(max(above, below), rel=1e-12)
    interval = stats.ttest_1samp(d, 0.0).confidence_interval(0.9)
    assert (got.low, got.high) == pytest.approx(tuple(interval), rel=1e-12)


@pytest.mark.parametrize(
    ("mean", "bound", "verdict"),
    [
        (0.0, 0.2, "equivalent"),
        (0.0, 0.02, "inconclusive"),
        (0.1, 0.3, "too small to matter"),
        (0.1, 0.11, "different"),
        (-0.1, 0.11, "different"),
        (-0.1, 0.3, "too small to matter"),
    ],
)
def test_equivalence_has_one_of_four_verdicts(mean, bound, verdict):
    spread = np.array([-0.05, 0.05] * 6)
    assert paired(mean + spread, np.zeros(12)).within(bound).verdict == verdict


def test_equivalence_handles_zero_spread_and_refuses_a_zero_bound():
    same = paired(np.ones(3), np.ones(3))
    assert same.within(0.1).verdict == "equivalent"
    shifted = paired(np.full(3, 1.2), np.ones(3))
    assert shifted.within(0.1).p == 1.0
    with pytest.raises(ValueError, match="the smallest effect of interest must be above 0, got 0"):
        same.within(0)


def test_pairs_for_equivalence_reach_the_requested_power():
    n = pairs_for_equivalence(0.25, 0.2)
    draws = np.random.default_rng(0).normal(0.0, 0.25, (4000, n))
    half = stats.t.ppf(0.95, n - 1) * draws.std(axis=1, ddof=1) / math.sqrt(n)
    share = (np.abs(draws.mean(axis=1)) + half < 0.2).mean()
    assert 0.78 < share < 0.86
    draws = draws[:, :-1]  # one pair fewer is too few, or very nearly
    half = stats.t.ppf(0.95, n - 2) * draws.std(axis=1, ddof=1) / math.sqrt(n - 1)
    assert (np.abs(draws.mean(axis=1)) + half < 0.2).mean() < share
    assert pairs_for_equivalence(0.0, 0.2) == 2
    with pytest.raises(ValueError, match="no number of pairs below 100,000"):
        pairs_for_equivalence(1e6, 0.1)
    with pytest.raises(ValueError, match="power in"):
        pairs_for_equivalence(0.1, 0.1, 1.0)
