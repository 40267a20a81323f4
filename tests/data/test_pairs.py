import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from cdmllab.data import pairs
from cdmllab.metrics import verification


def test_sample_has_the_shape_of_lfw():
    p = pairs.sample(np.repeat(np.arange(60), 20), per_fold=300, folds=10)
    assert len(p.same) == 6000
    for k in range(10):
        assert p.same[p.fold == k].sum() == 300
        assert (~p.same[p.fold == k]).sum() == 300


@settings(max_examples=30)
@given(st.integers(2, 8), st.integers(3, 8), st.integers(0, 50))
def test_sample_labels_pairs_correctly_and_repeats_none(identities, each, seed):
    labels = np.repeat(np.arange(identities), each)
    p = pairs.sample(labels, per_fold=2, folds=3, seed=seed)
    assert np.array_equal(labels[p.first] == labels[p.second], p.same)
    assert len({frozenset(pair) for pair in zip(p.first, p.second, strict=True)}) == len(p.same)
    assert (p.first != p.second).all()


def test_sample_uses_identities_equally_often():
    labels = np.repeat([0, 1, 2], [100, 10, 10])
    p = pairs.sample(labels, per_fold=9, folds=10)
    assert np.bincount(labels[p.first[p.same]]).tolist() == [30, 30, 30]


def test_sample_depends_only_on_the_seed():
    labels = np.repeat(np.arange(5), 9)
    a, b, c = (pairs.sample(labels, 5, 2, seed=s) for s in (3, 3, 4))
    assert np.array_equal(a.first, b.first)
    assert not np.array_equal(a.first, c.first)


@pytest.mark.parametrize(
    ("labels", "message"), [([0, 0, 1], "genuine"), ([0] * 20 + [1], "impostor")]
)
def test_sample_refuses_too_few_pairs(labels, message):
    with pytest.raises(
        ValueError, match=f"30 {message} pairs are needed, but the images give only"
    ):
        pairs.sample(labels, per_fold=10, folds=3)


def test_every_gives_each_pair_once():
    p = pairs.every([0, 0, 1])
    assert list(zip(p.first, p.second, p.same, strict=True)) == [
        (0, 1, True),
        (0, 2, False),
        (1, 2, False),
    ]


@pytest.mark.parametrize("count", [10, 11, 23, 59, 6000, 6007])
def test_folds_of_a_list_are_those_of_kfold(count):
    """scikit-learn's KFold without shuffling, which arcface_torch evaluates by."""
    fold = pairs.in_folds(count, 10)
    for k, (_, test) in enumerate(KFold(10, shuffle=False).split(np.arange(count))):
        assert np.array_equal(np.flatnonzero(fold == k), test)


def test_fewer_pairs_than_folds_are_refused_as_kfold_refuses_them():
    with pytest.raises(ValueError, match="Cannot have number of splits"):
        list(KFold(10).split(np.arange(9)))
    with pytest.raises(ValueError, match="9 pairs do not fill 10 folds"):
        pairs.in_folds(9, 10)


def test_accuracy_over_uneven_folds_is_the_mean_over_folds():
    """By hand: 5 pairs, in folds of 3 and 2; the threshold of each fold is chosen on the other."""
    fold = pairs.in_folds(5, 2)
    assert fold.tolist() == [0, 0, 0, 1, 1]
    scores, same = [0.9, 0.1, 0.5, 0.8, 0.2], [True, False, True, True, False]
    result = verification.fold_accuracy(scores, same, fold)
    assert result.thresholds.tolist() == pytest.approx([0.5, 0.3])
    assert result.per_fold.tolist() == [1.0, 1.0]
    scores[2] = 0.4  # now below the threshold that the second fold sets
    result = verification.fold_accuracy(scores, same, fold)
    assert result.per_fold.tolist() == pytest.approx([2 / 3, 1.0])
    assert result.mean == pytest.approx(5 / 6)  # of folds, not of pairs: that would be 4 / 5
