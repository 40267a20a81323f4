"""A few images of each of a few people, for figures and small experiments."""

from typing import NamedTuple

import torch
from torch import Tensor

from cdmllab.faces.nuisance import Nuisances, nuisances
from cdmllab.faces.render import render


class Album(NamedTuple):
    """n images, grouped by person."""

    images: Tensor  # uint8 [n, 3, size, size], RGB
    identity: Tensor  # int64 [n], from 0
    nuisances: Nuisances


def album(
    people: int,
    each: int,
    *,
    first: int = 0,
    start: int = 0,
    size: int = 32,
    strength: float = 0.5,
    seed: int = 0,
) -> Album:
    """Render an album.

    Parameters
    ----------
    people, each : the number of people, and of images per person
    first : number of the first person; worlds for training usually start at person 0
    start : number of each person's first image; the images of a world start at 0
    size, strength, seed : as for `render`

    Raises
    ------
    ValueError : as for `render`
    """
    # Person by person: 0, 0, 1, 1, .. with images start, start + 1, start, ..
    identity = torch.arange(people).repeat_interleave(each)
    index = start + torch.arange(each).repeat(people)
    images = render(first + identity, index=index, seed=seed, size=size, strength=strength)
    return Album(images, identity, nuisances(seed, first + identity, index, strength=strength))
