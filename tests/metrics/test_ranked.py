import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdmllab.metrics import ranked
from cdmllab.metrics import verification as v


def draw(seed, n=60, decimals=1):
    rng = np.random.default_rng(seed)
    same = np.append(rng.random(n - 2) < rng.uniform(0.1, 0.9), [True, False])
    return np.round(rng.normal(same * 1.0, 1.0), decimals), same


def eer_on_the_roc(scores, same):
    """The crossing of two straight pieces, searched point by point."""
    curve = v.roc(scores, same)
    gap = curve.far + curve.tar - 1.0
    k = int(np.flatnonzero(gap >= -1e-12)[0])
    t = gap[k - 1] / (gap[k - 1] - gap[k])
    return curve.far[k - 1] + t * (curve.far[k] - curve.far[k - 1])


@settings(max_examples=80)
@given(st.integers(0, 10_000), st.integers(0, 3))
def test_rates_of_sorted_scores_equal_those_of_the_full_curve(seed, decimals):
    scores, same = draw(seed, decimals=decimals)
    curve, r = v.roc(scores, same), ranked.rank(scores, same)
    np.testing.assert_allclose(r.far(curve.threshold), curve.far)
    np.testing.assert_allclose(r.tar(curve.threshold), curve.tar)
    assert np.isclose(ranked.auc(r), np.trapezoid(curve.tar, curve.far))
    assert np.isclose(ranked.eer(r), eer_on_the_roc(scores, same))
    for far in (1 / len(r.impostor), 0.5, 1.0):
        assert np.isclose(ranked.tar_at_far(r, far), curve.tar[curve.far <= far + 1e-12].max())
        threshold = ranked.lowest_accepted(r, far)
        assert r.tar(threshold) == ranked.tar_at_far(r, far)
        assert r.far(threshold) <= far


def test_corners_are_where_the_staircase_rises():
    far, tar = ranked.corners(
        ranked.rank([5, 4, 3, 2, 1, 0], [True, False, True, True, False, False])
    )
    assert tar.tolist() == [0, 1 / 3, 2 / 3, 1, 1]
    np.testing.assert_allclose(far, [0, 0, 1 / 3, 1 / 3, 1])


def test_resolved_excludes_fars_that_too_few_pairs_cannot_resolve():
    assert ranked.resolved((1e-6, 1e-3, 1e-2, 0.1), 1000) == (1e-3, 1e-2, 0.1)
    assert ranked.resolved((1e-6,), 10) == ()
    assert ranked.resolved((0.1, 1.0, 1.5), 10) == (0.1, 1.0)


@pytest.mark.parametrize("far", [0.0, 1e-4, 1.1, np.nan])
def test_allowed_refuses_a_far_beyond_the_resolution(far):
    with pytest.raises(
        ValueError,
        match=r"cannot be measured with 1,000 impostor pairs: it must lie in \[0\.001, 1\]",
    ):
        ranked.allowed(far, 1000)


def test_allowed_counts_whole_pairs_whatever_the_rounding():
    for n in range(1, 400):
        for k in range(1, n + 1):
            assert ranked.allowed(k / n, n) == k
