"""scikit-learn's handwritten digits as an open-set identity problem.

1,797 real digits, 8 x 8 pixels, shipped with scikit-learn: the smallest honest stand-in for
faces. Each digit is an identity.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cdmllab.errors import optional


class Digits(NamedTuple):
    """Images of some classes, with labels counted from 0 in the order of `classes`."""

    images: Tensor  # [n, 1, 8, 8] float32 in [-1, 1]
    labels: Tensor  # [n] int64, 0 .. len(classes) - 1
    classes: tuple[int, ...]  # the digit behind each label


def load(classes: Iterable[int] = range(10)) -> Digits:
    """The digits of the given classes, in the data set's order.

    Raises
    ------
    ValueError : a class is not a digit or is repeated, or there are fewer than two
    """
    chosen = tuple(classes)
    if len(chosen) < 2 or len(set(chosen)) != len(chosen) or not set(chosen) <= set(range(10)):
        raise ValueError(f"classes must be two or more different digits from 0 to 9, got {chosen}")
    with optional("analysis", "the handwritten digits"):
        from sklearn.datasets import load_digits  # imported late: it takes seconds

    raw, target = load_digits(return_X_y=True)  # [1797, 64], levels 0 to 16
    keep = np.isin(target, chosen)
    images = torch.from_numpy(raw[keep].astype(np.float32)).reshape(-1, 1, 8, 8)
    position = {digit: label for label, digit in enumerate(chosen)}
    labels = torch.tensor([position[int(t)] for t in target[keep]])
    return Digits(images / 8.0 - 1.0, labels, chosen)  # [0, 16] to [-1, 1]


def split(digits: Digits, held_out: float = 0.25, seed: int = 0) -> tuple[Digits, Digits]:
    """Split the images of every class at random into a training part and a held-out part.

    Parameters
    ----------
    digits : what to split
    held_out : share of each class to hold out, in (0, 1)
    seed : the same seed gives the same parts
    """
    if not 0.0 < held_out < 1.0:
        raise ValueError(f"held_out must be strictly between 0 and 1, got {held_out}")
    generator = torch.Generator().manual_seed(seed)
    out = torch.zeros(len(digits.labels), dtype=torch.bool)
    for label in range(len(digits.classes)):
        members = (digits.labels == label).nonzero().squeeze(1)
        # Hold out the beginning of a random order of each class.
        shuffled = members[torch.randperm(len(members), generator=generator)]
        out[shuffled[: round(held_out * len(members))]] = True
    return (
        Digits(digits.images[~out], digits.labels[~out], digits.classes),
        Digits(digits.images[out], digits.labels[out], digits.classes),
    )
