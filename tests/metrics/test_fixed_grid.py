import numpy as np
import pytest

from cdmllab.metrics import fixed_grid, scoring
from cdmllab.metrics import verification as v


def draw(seed, pairs=120, folds=6):
    rng = np.random.default_rng(seed)
    e = rng.normal(size=(40, 6)) + 2.0 * np.eye(6)[np.arange(40) % 6]
    first, second = rng.integers(0, 40, pairs), rng.integers(0, 40, pairs)
    return e, first, second, first % 6 == second % 6, np.arange(pairs) // (pairs // folds)


def by_hand(distance, same, fold):
    """arcface_torch's rule as two loops: folds outside, thresholds inside."""
    grid = [0.01 * k for k in range(400)]
    accuracies, chosen = [], []
    for k in sorted(set(fold)):
        right = [np.mean((distance[fold != k] < t) == same[fold != k]) for t in grid]
        best = right.index(max(right))
        chosen.append(grid[best])
        accuracies.append(np.mean((distance[fold == k] < grid[best]) == same[fold == k]))
    return accuracies, chosen


@pytest.mark.parametrize("seed", range(5))
def test_fixed_grid_equals_its_two_loops(seed):
    e, first, second, same, fold = draw(seed)
    distance = scoring.convert(scoring.cosines(e, first, second), "cosine", "squared_l2")
    got = fixed_grid.fold_accuracy(distance, same, fold)
    accuracies, chosen = by_hand(distance, same, fold)
    np.testing.assert_array_equal(got.per_fold, accuracies)
    np.testing.assert_allclose(got.thresholds, chosen)
    assert got.mean == np.mean(accuracies)
    assert got.std == np.std(accuracies)
    for t in (0, 1, 50, 200, 399):
        below = distance < 0.01 * t
        for rate, kind in ((got.tar[t], same), (got.far[t], ~same)):
            shares = [
                below[kind & (fold == k)].sum() / max((kind & (fold == k)).sum(), 1)
                for k in range(6)
            ]
            assert np.isclose(rate, np.mean(shares))


def test_fixed_grid_is_blind_between_its_thresholds():
    """Scores a tenth of a step apart are distinguished by the exact rule only."""
    same = np.tile([True, False], 20)
    distance = np.where(same, 1.002, 1.003)
    fold = np.arange(40) // 20
    assert fixed_grid.fold_accuracy(distance, same, fold).mean == 0.5
    assert v.fold_accuracy(-distance, same, fold).mean == 1.0


def test_fixed_grid_accepts_no_pair_at_the_end_of_the_scale():
    got = fixed_grid.fold_accuracy([0.0, 4.0, 0.0, 4.0], [True, False] * 2, [0, 0, 1, 1])
    assert got.mean == 1.0
    assert got.thresholds.tolist() == [0.01, 0.01]
    assert got.far[-1] == 0.0
    missed = fixed_grid.fold_accuracy(
        [0.0, 4.0, 4.0] * 2, [True, False, True] * 2, [0] * 3 + [1] * 3
    )
    assert missed.per_fold.tolist() == [2 / 3, 2 / 3]
    assert (missed.tar[-1], missed.far[-1]) == (0.5, 0.0)


@pytest.mark.parametrize(
    ("fold", "message"), [([0, 0, 0, 0], "two folds"), ([0, 1], r"fold must have shape \(4,\)")]
)
def test_fixed_grid_refuses_folds_that_do_not_fit(fold, message):
    with pytest.raises(ValueError, match=message):
        fixed_grid.fold_accuracy([0.0, 4.0, 0.0, 4.0], [True, False] * 2, fold)


def test_a_fold_of_one_kind_has_no_rate_of_the_other():
    """Its share of the missing kind counts as 0 in the mean over folds, as arcface_torch
    counts it.
    """
    got = fixed_grid.fold_accuracy([0.5, 1.5, 0.4, 1.2], [True, False, True, True], [0, 0, 1, 1])
    at = {threshold: round(100 * threshold) for threshold in (0.45, 1.3, 1.6)}
    assert [got.far[k] for k in at.values()] == [0.0, 0.0, 0.5]
    assert [got.tar[k] for k in at.values()] == [0.25, 1.0, 1.0]


def test_folds_may_have_any_names():
    e, first, second, same, fold = draw(1)
    distance = scoring.convert(scoring.cosines(e, first, second), "cosine", "squared_l2")
    named = fixed_grid.fold_accuracy(distance, same, np.array([-7, 3, 40, 41, 99, 100])[fold])
    np.testing.assert_array_equal(
        named.per_fold, fixed_grid.fold_accuracy(distance, same, fold).per_fold
    )
