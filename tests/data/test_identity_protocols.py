import numpy as np
import pytest

from cdmllab.data import identity_protocols

LABELS = np.repeat(np.arange(30), np.arange(2, 32))


def test_folds_share_no_people():
    fold = identity_protocols.folds(LABELS, 7, seed=1)
    assert all(len(set(fold[k == LABELS])) == 1 for k in range(30))
    assert sorted(np.bincount([fold[k == LABELS][0] for k in range(30)])) == [4, 4, 4, 4, 4, 5, 5]
    assert not np.array_equal(fold, identity_protocols.folds(LABELS, 7, seed=2))
    with pytest.raises(ValueError, match="3 people cannot be split into 4 folds"):
        identity_protocols.folds([0, 1, 2], 4)


def test_disjoint_pairs_are_correct_and_stay_within_their_people():
    p = identity_protocols.disjoint_pairs(LABELS, 20, count=5, seed=3)
    fold = identity_protocols.folds(LABELS, 5, seed=3)
    assert np.array_equal(LABELS[p.first] == LABELS[p.second], p.same)
    assert np.array_equal(fold[p.first], p.fold)
    assert np.array_equal(fold[p.second], p.fold)
    assert [int(p.same[p.fold == k].sum()) for k in range(5)] == [20] * 5
    assert (
        len(set(zip(np.minimum(p.first, p.second), np.maximum(p.first, p.second), strict=True)))
        == 200
    )


def test_gallery_and_probes_are_disjoint_and_complete():
    split = identity_protocols.gallery_and_probes(LABELS, 2, seed=1)
    assert sorted([*split.gallery, *split.probes]) == list(range(len(LABELS)))
    assert np.bincount(LABELS[split.gallery]).tolist() == [2] * 30
    other = identity_protocols.gallery_and_probes(LABELS, 2, seed=2)
    assert not np.array_equal(split.gallery, other.gallery)


def test_gallery_pairs_compare_gallery_and_probe_within_a_fold():
    split = identity_protocols.gallery_and_probes(LABELS, 1, seed=0)
    p = identity_protocols.gallery_pairs(LABELS, split, per_fold=25, count=3, seed=0)
    assert set(p.first) <= set(split.gallery)
    assert set(p.second) <= set(split.probes)
    assert np.array_equal(LABELS[p.first] == LABELS[p.second], p.same)
    assert np.bincount(p.fold).tolist() == [50] * 3
    by_fold = [
        set(LABELS[np.concatenate([p.first[p.fold == k], p.second[p.fold == k]])]) for k in range(3)
    ]
    assert not by_fold[0] & by_fold[1]
    assert len(set(zip(p.first, p.second, strict=True))) == 150


def test_too_few_pairs_are_refused():
    split = identity_protocols.gallery_and_probes([0, 0, 1, 1, 2, 2], 1)
    with pytest.raises(ValueError, match="5 genuine pairs are needed, but there are only 1"):
        identity_protocols.gallery_pairs([0, 0, 1, 1, 2, 2], split, per_fold=5, count=3)


def test_every_pair_compares_all_images_of_a_fold_once():
    p = identity_protocols.every_pair(LABELS, count=5, seed=3)
    fold = identity_protocols.folds(LABELS, 5, seed=3)
    assert np.array_equal(LABELS[p.first] == LABELS[p.second], p.same)
    assert np.array_equal(fold[p.first], p.fold)
    assert np.array_equal(fold[p.second], p.fold)
    sizes = np.bincount(fold)
    assert np.bincount(p.fold).tolist() == (sizes * (sizes - 1) // 2).tolist()
    assert p.same.sum() == sum(n * (n - 1) // 2 for n in range(2, 32))
    assert len(set(zip(p.first.tolist(), p.second.tolist(), strict=True))) == len(p.first)
