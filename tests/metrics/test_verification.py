import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve
from tests import oracles

from cdmllab.metrics import verification as v


def draw(n=400, seed=0, decimals=2):
    rng = np.random.default_rng(seed)
    same = rng.random(n) < 0.5
    return np.round(rng.normal(same * 1.0, 1.0), decimals), same


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_roc_equals_scikit_learn(decimals):
    scores, same = draw(decimals=decimals)
    far, tar, threshold = roc_curve(same, scores, drop_intermediate=False)
    curve = v.roc(scores, same)
    np.testing.assert_allclose(curve.far, far)
    np.testing.assert_allclose(curve.tar, tar)
    np.testing.assert_allclose(curve.threshold, threshold)
    assert np.isclose(v.auc(scores, same), roc_auc_score(same, scores))


def test_roc_equals_worked_values():
    curve = v.roc([0.9, 0.8, 0.8, 0.1], [True, True, False, False])
    assert curve.threshold.tolist() == [np.inf, 0.9, 0.8, 0.1]
    assert curve.tar.tolist() == [0, 0.5, 1, 1]
    assert curve.far.tolist() == [0, 0, 0.5, 1]


def test_eer_of_perfect_and_of_reversed_scores():
    same = np.array([True] * 5 + [False] * 5)
    assert v.eer(same.astype(float), same) == 0.0
    assert v.eer(-same.astype(float), same) == 1.0
    assert np.isclose(v.eer([3, 1, 2, 0], [True, True, False, False]), 0.5)


def test_tar_at_far_takes_the_largest_allowed():
    scores, same = [5, 4, 3, 2, 1, 0], [True, False, True, True, False, False]
    assert v.tar_at_far(scores, same, 1 / 3) == 1.0
    assert v.tar_at_far(scores, same, 0.999) == 1.0
    scores, same = [5, 4, 3, 2, 1, 0], [False, True, True, False, True, False]
    assert np.isclose(v.tar_at_far(scores, same, 1 / 3), 2 / 3)


@pytest.mark.parametrize("far", [0.0, 0.3, 1.5])
def test_tar_at_far_refuses_a_far_that_the_pairs_cannot_resolve(far):
    with pytest.raises(ValueError, match="cannot be measured with 3 impostor pairs"):
        v.tar_at_far([1, 2, 3, 4], [True, False, False, False], far)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(0, 2))
def test_best_threshold_is_best(seed, decimals):
    scores, same = draw(30, seed, decimals)
    if same.all() or not same.any():
        return
    mine = v.accuracy(scores, same, v.best_threshold(scores, same))
    tried = [v.accuracy(scores, same, t) for t in [*scores, scores.max() + 1]]
    assert np.isclose(mine, max(tried))


@pytest.mark.parametrize("seed", range(5))
def test_fold_accuracy_is_one_the_oracle_allows(seed):
    scores, same = draw(120, seed)
    fold = np.arange(120) % 6
    got = v.fold_accuracy(scores, same, fold)
    for mine, allowed in zip(got.per_fold, oracles.fold_accuracy(scores, same, fold), strict=True):
        assert np.isclose(allowed, mine).any()
    assert np.isclose(got.mean, got.per_fold.mean())
    assert np.isclose(got.std, got.per_fold.std())


def test_fold_accuracy_never_looks_at_the_fold_it_judges():
    scores, same = draw(100)
    fold = np.arange(100) % 5
    before = v.fold_accuracy(scores, same, fold).thresholds[2]
    scores[fold == 2] = -scores[fold == 2]
    assert v.fold_accuracy(scores, same, fold).thresholds[2] == before


@pytest.mark.parametrize(
    ("scores", "same", "message"),
    [
        ([], [], "no pairs"),
        ([1.0, np.nan], [True, False], "score of pair 1 is NaN"),
        ([1.0, 2.0], [True, True], "all 2 pairs are genuine"),
        ([1.0, 2.0], [False, False], "all 2 pairs are impostor"),
        ([1.0, 2.0], [True], "must both have shape"),
    ],
)
def test_bad_pairs_are_named(scores, same, message):
    with pytest.raises(ValueError, match=message):
        v.roc(scores, same)


def test_fold_accuracy_needs_two_folds():
    with pytest.raises(ValueError, match="two folds"):
        v.fold_accuracy([1, 2], [True, False], [0, 0])


@pytest.mark.parametrize(
    ("scores", "same", "threshold"),
    [
        ([1.0, 2.0, 3.0, 4.0], [False, False, True, True], 2.5),
        (
            [0.0, 1.0, 2.0, 3.0],
            [False, True, False, True],
            0.5,
        ),  # 2.5 is as good: the later of two middle ones
        (
            [5.0, 4.0, 3.0, 2.0, 1.0, 0.0],
            [True, False, True, False, True, False],
            2.5,
        ),  # the middle of three
        ([0.0, 1.0, 2.0], [True, False, False], np.nextafter(2.0, 3.0)),  # accept none
        ([0.0, 1.0, 2.0], [True, True, False], 0.0),  # accept all
    ],
)
def test_best_threshold_equals_a_worked_value(scores, same, threshold):
    assert v.best_threshold(scores, same) == threshold


def test_accuracy_counts_a_score_at_the_threshold_as_accepted():
    scores, same = [0.2, 0.5, 0.6, 0.8], [False, True, False, True]
    assert v.accuracy(scores, same, 0.5) == 0.75
    assert v.accuracy(scores, same, 0.55) == 0.5
    assert v.accuracy(scores, same, 0.7) == 0.75


def test_fold_accuracy_equals_a_worked_value():
    """The threshold of each fold is that of the other: 2.5 and 12.5."""
    scores = [1.0, 2.0, 3.0, 4.0, 11.0, 12.0, 13.0, 14.0]
    got = v.fold_accuracy(scores, [False, False, True, True] * 2, [7] * 4 + [3] * 4)
    assert got.thresholds.tolist() == [2.5, 12.5]  # by the folds' names, 3 and 7
    assert got.per_fold.tolist() == [0.5, 0.5]
    assert (got.mean, got.std) == (0.5, 0.0)
