import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from cdmllab.metrics import nearest_far, ranked
from cdmllab.metrics.weighted import WeightedCurve

FARS = (0.0, 1e-4, 1e-3, 1e-2, 0.1, 0.25, 1 / 3, 0.5, 1.0)


def by_the_script(scores, same, fars=FARS, weights=None):
    """arcface_torch's procedure: scikit-learn's curve reversed, and the first nearest point."""
    rates, tars, _ = roc_curve(same, scores, sample_weight=weights)
    rates, tars = rates[::-1], tars[::-1]
    nearest = [min(zip(np.abs(rates - far), range(len(rates)), strict=True))[1] for far in fars]
    return [(tars[first], rates[first]) for first in nearest]


def ours(scores, same, fars=FARS):
    both = ranked.rank(scores, same)
    return [nearest_far.tar_at_far(both, far) for far in fars]


def draw(seed, n, decimals, gap=1.0):
    rng = np.random.default_rng(seed)
    same = np.append(rng.random(n - 2) < rng.uniform(0.05, 0.95), [True, False])
    return np.round(rng.normal(same * gap, 1.0), decimals), same


@settings(max_examples=100)
@given(st.integers(0, 10_000), st.integers(2, 80), st.integers(0, 3), st.sampled_from([1, 3, 256]))
def test_nearest_far_equals_scikit_learns_curve(seed, n, decimals, window):
    """With many ties and with few, and with windows that have to grow."""
    scores, same = draw(seed, n, decimals)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_far, "_WINDOW", window)
        assert ours(scores, same) == by_the_script(scores, same)


@pytest.mark.parametrize("decimals", [2, 9])
@pytest.mark.parametrize("gap", [0.0, 2.0])
def test_nearest_far_of_many_pairs_is_found_in_its_window(decimals, gap):
    scores, same = draw(3, 20_000, decimals, gap)
    assert ours(scores, same) == by_the_script(scores, same)


def test_nearest_far_may_be_twice_the_requested_one():
    """Falling scores: impostor, genuine, impostor, genuine, three impostors. A FAR of 0.32 is
    nearer to 2 in 5.
    """
    scores, same = [7, 6, 5, 4, 3, 2, 1], [False, True, False, True, False, False, False]
    both = ranked.rank(scores, same)
    assert nearest_far.tar_at_far(both, 0.32) == (1.0, 0.4)
    assert ranked.tar_at_far(both, 0.32) == 0.5  # 1 in 5
    assert nearest_far.tar_at_far(both, 0.2) == (0.5, 0.2)


def test_nearest_far_of_two_equally_near_is_the_larger():
    scores, same = [4, 3, 2, 1, 0], [True, False, True, False, True]
    assert ours(scores, same, [0.25]) == by_the_script(scores, same, [0.25]) == [(2 / 3, 0.5)]


def test_nearest_far_skips_the_points_the_curve_drops():
    """Four impostors in a row are one straight piece: the point half-way is not on scikit-learn's
    curve.
    """
    scores, same = [9, 8, 7, 6, 5, 4], [True, False, False, False, False, True]
    both = ranked.rank(scores, same)
    assert nearest_far.tar_at_far(both, 0.55) == (1.0, 1.0)
    assert ranked.tar_at_far(both, 0.55) == 0.5
    tied = ranked.rank([9, 8, 7, 7, 5, 4], same)  # the step changes, so that these points stay
    assert nearest_far.tar_at_far(tied, 0.55) == (0.5, 0.75)


@pytest.mark.parametrize("far", [-0.1, 1.01, np.nan])
def test_nearest_far_refuses_an_impossible_rate(far):
    with pytest.raises(ValueError, match=r"a FAR must lie in \[0, 1\], got"):
        nearest_far.tar_at_far(ranked.rank([1, 0], [True, False]), far)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 2))
def test_nearest_far_of_weighted_pairs_equals_scikit_learns_curve(seed, decimals):
    scores, same = draw(seed, 60, decimals)
    order = np.argsort(-scores, kind="stable")
    scores, same = scores[order], same[order]
    weights = (
        np.random.default_rng(seed).poisson(1.0, size=(5, 60)).astype(float)
    )  # a third of them is zero
    weights[0] = 1.0
    weights[1] *= ~same
    weights[2] *= same
    values = WeightedCurve(scores, same).measures(weights, FARS)
    got = np.stack([values[f"nearest_tar@{far:g}"] for far in FARS])
    assert np.isnan(got[:, 1:3]).all()
    assert got[:, 0].tolist() == [tar for tar, _ in ours(scores, same)]
    for k in (3, 4):
        if weights[k][same].any() and weights[k][~same].any():
            assert got[:, k].tolist() == [
                tar for tar, _ in by_the_script(scores, same, weights=weights[k])
            ]
