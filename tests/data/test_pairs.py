import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdmllab.data import pairs


def test_sample_has_the_shape_of_lfw():
    p = pairs.sample(np.repeat(np.arange(60), 20), per_fold=300, folds=10)
    assert len(p.same) == 6000
    for k in range(10):
        assert p.same[p.fold == k].sum() == 300
        assert (~p.same[p.fold == k]).sum() == 300


@settings(max_examples=30)
@given(st.integers(2, 8), st.integers(3, 8), st.integers(0, 50))
def test_sample_labels_pairs_rightly_and_repeats_none(identities, each, seed):
    labels = np.repeat(np.arange(identities), each)
    p = pairs.sample(labels, per_fold=2, folds=3, seed=seed)
    assert np.array_equal(labels[p.first] == labels[p.second], p.same)
    assert len({frozenset(pair) for pair in zip(p.first, p.second, strict=True)}) == len(p.same)
    assert (p.first != p.second).all()


def test_sample_counts_identities_alike():
    labels = np.repeat([0, 1, 2], [100, 10, 10])
    p = pairs.sample(labels, per_fold=9, folds=10)
    assert np.bincount(labels[p.first[p.same]]).tolist() == [30, 30, 30]


def test_sample_depends_on_the_seed_alone():
    labels = np.repeat(np.arange(5), 9)
    a, b, c = (pairs.sample(labels, 5, 2, seed=s) for s in (3, 3, 4))
    assert np.array_equal(a.first, b.first)
    assert not np.array_equal(a.first, c.first)


@pytest.mark.parametrize(("labels", "said"), [([0, 0, 1], "genuine"), ([0] * 20 + [1], "impostor")])
def test_sample_says_when_there_are_too_few(labels, said):
    with pytest.raises(ValueError, match=f"30 {said} pairs are wanted, the pictures have only"):
        pairs.sample(labels, per_fold=10, folds=3)


def test_every_gives_each_pair_once():
    p = pairs.every([0, 0, 1])
    assert list(zip(p.first, p.second, p.same, strict=True)) == [(0, 1, True), (0, 2, False), (1, 2, False)]
