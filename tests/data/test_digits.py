import pytest
import torch

from cdmllab.data import digits


def test_load_gives_all_1797_real_digits():
    d = digits.load()
    assert d.images.shape == (1797, 1, 8, 8)
    assert d.images.min() == -1.0
    assert d.images.max() == 1.0
    assert d.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_load_numbers_classes_in_the_given_order():
    d = digits.load([9, 7])
    assert d.classes == (9, 7)
    assert d.labels.bincount().tolist() == [180, 179]


@pytest.mark.parametrize("classes", [[3], [3, 3], [3, 12]])
def test_load_refuses_impossible_classes(classes):
    with pytest.raises(ValueError, match="two or more different digits"):
        digits.load(classes)


def test_split_divides_every_class_and_loses_nothing():
    d = digits.load(range(3))
    train, out = digits.split(d, 0.25, seed=1)
    assert len(train.labels) + len(out.labels) == len(d.labels)
    expected = (d.labels.bincount() * 0.25).round()
    assert torch.equal(out.labels.bincount().float(), expected)


def test_split_depends_only_on_the_seed():
    d = digits.load(range(3))
    a, b, c = (digits.split(d, 0.25, seed=s)[1].images for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
