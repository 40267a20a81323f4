"""Face-lab images to calibrate with, and a face-lab protocol to compare accuracies on."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cdmllab import faces
from cdmllab.data import pairs
from cdmllab.data.pairs import Pairs
from cdmllab.faces.world import RESERVED

STRENGTH = 0.65  # of the nuisances: neither easy nor hopeless
PICTURES_EACH = 6
FOLDS = 10
_JUDGED = (
    RESERVED + 400_000
)  # people of the protocol: beyond those of `cdmllab.faces.protocols`, never trained on
_CALIBRATION = (
    RESERVED - 100_000
)  # like people to train on, and beyond those of worlds that begin at 0


class Protocol(NamedTuple):
    """Images of people and the pairs of them that are compared."""

    images: Tensor  # [n, 3, size, size] uint8, RGB
    pairs: Pairs


def protocol(identities: int, size: int, seed: int = 0) -> Protocol:
    """Six images of each identity and as many pairs as they give: ten folds, half of each
    genuine.

    Raises
    ------
    ValueError : fewer than 4 identities, which have too few pairs for ten folds
    """
    if identities < 4:
        raise ValueError(f"the protocol needs 4 identities or more, got {identities}")
    labels = torch.arange(identities).repeat_interleave(PICTURES_EACH)
    index = torch.arange(PICTURES_EACH).repeat(identities)
    genuine = identities * PICTURES_EACH * (PICTURES_EACH - 1) // 2
    drawn = pairs.sample(labels.numpy(), per_fold=genuine // FOLDS, folds=FOLDS, seed=seed)
    return Protocol(_render(_JUDGED + labels, index, size, seed), drawn)


def calibration(count: int, size: int, seed: int = 0) -> Tensor:
    """Images of `count` people who are in no protocol; uint8 of shape (count, 3, size, size)."""
    return _render(
        _CALIBRATION + torch.arange(count), torch.zeros(count, dtype=torch.int64), size, seed
    )


def noise(count: int, size: int, seed: int = 0) -> Tensor:
    """Random pixels; uint8 of shape (count, 3, size, size)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def _render(who: Tensor, index: Tensor, size: int, seed: int) -> Tensor:
    """The face lab draws 32 to 224 pixels; other sizes are scaled."""
    smallest, largest = faces.SIZES
    possible = min(max(size, smallest), largest)
    drawn = faces.render(who, index=index, size=possible, strength=STRENGTH, seed=seed)
    if drawn.shape[-1] == size:
        return drawn
    scaled = F.interpolate(
        drawn.float(), size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
    return scaled.round().clamp(0, 255).to(torch.uint8)
