"""So many images of so many people, to look at and to judge by."""

from typing import NamedTuple

import torch
from torch import Tensor

from cdmllab.faces.nuisance import Nuisances, nuisances
from cdmllab.faces.render import render


class Album(NamedTuple):
    """n images, those of a person one after the other."""

    images: Tensor  # uint8 [n, 3, size, size], RGB
    identity: Tensor  # int64 [n] counted from 0
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
    """Draw an album.

    Parameters
    ----------
    people, each : how many people, how many images of each
    first : number of the first person; a world that is trained on has those from 0
    start : number of everybody's first image; a world has those from 0
    size, strength, seed : as for `render`

    Raises
    ------
    ValueError : as `render` does
    """
    identity = torch.arange(people).repeat_interleave(each)
    index = start + torch.arange(each).repeat(people)
    images = render(first + identity, index=index, seed=seed, size=size, strength=strength)
    return Album(images, identity, nuisances(seed, first + identity, index, strength=strength))
