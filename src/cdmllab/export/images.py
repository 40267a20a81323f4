"""Face-lab images for calibration, and a face-lab protocol for accuracy."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cdmllab import faces
from cdmllab.data import pairs
from cdmllab.data.pairs import Pairs
from cdmllab.faces.world import RESERVED

STRENGTH = 0.65  # of the nuisances: difficult, but not hopeless
PICTURES_EACH = 6
FOLDS = 10
# First person of the protocol: after those of `cdmllab.faces.protocols`, never trained on.
_JUDGED = RESERVED + 400_000
# First person for calibration: of the training range, but after those of worlds that start at 0.
_CALIBRATION = RESERVED - 100_000


class Protocol(NamedTuple):
    """Images of people and the pairs of them that are compared."""

    images: Tensor  # [n, 3, size, size] uint8, RGB
    pairs: Pairs


def protocol(identities: int, size: int, seed: int = 0) -> Protocol:
    """Six images per identity, and ten folds of pairs, half of each genuine.

    Raises
    ------
    ValueError : fewer than 4 identities, which have too few pairs for ten folds
    """
    if identities < 4:
        raise ValueError(f"the protocol needs at least 4 identities, got {identities}")
    # Six consecutive rows for each person, with the images 0 to 5.
    labels = torch.arange(identities).repeat_interleave(PICTURES_EACH)
    index = torch.arange(PICTURES_EACH).repeat(identities)
    genuine = identities * PICTURES_EACH * (PICTURES_EACH - 1) // 2  # pairs of images of one person
    drawn = pairs.sample(labels.numpy(), per_fold=genuine // FOLDS, folds=FOLDS, seed=seed)
    return Protocol(_render(_JUDGED + labels, index, size, seed), drawn)


def calibration(count: int, size: int, seed: int = 0) -> Tensor:
    """Images of `count` people of no protocol; uint8 of shape (count, 3, size, size)."""
    return _render(
        _CALIBRATION + torch.arange(count), torch.zeros(count, dtype=torch.int64), size, seed
    )


def noise(count: int, size: int, seed: int = 0) -> Tensor:
    """Random pixels; uint8 of shape (count, 3, size, size)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def _render(people: Tensor, index: Tensor, size: int, seed: int) -> Tensor:
    """Render at a size that the face lab supports, and scale to `size` pixels."""
    smallest, largest = faces.SIZES
    possible = min(max(size, smallest), largest)
    drawn = faces.render(people, index=index, size=possible, strength=STRENGTH, seed=seed)
    if drawn.shape[-1] == size:
        return drawn
    scaled = F.interpolate(
        drawn.float(), size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
    return scaled.round().clamp(0, 255).to(torch.uint8)
