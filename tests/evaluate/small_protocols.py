"""Small protocols with every part a protocol can have."""

import numpy as np
import torch
from torch import nn

from cdmllab.data import pairs
from cdmllab.evaluate import Protocol, TemplateList


class Flat(nn.Module):
    """An embedding is the pixels themselves."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return self.scale * images.flatten(1)


def people(count=20, each=6, seed=0, noise=0.8):
    """Images (n, 1, 4, 4) of `count` people, their noise, and their identities."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(count), each)
    strength = rng.uniform(0, 2 * noise, len(identity))
    x = rng.normal(size=(count, 16))[identity] + strength[:, None] * rng.normal(
        size=(len(identity), 16)
    )
    return torch.from_numpy(x.astype(np.float32)).reshape(-1, 1, 4, 4), identity, strength


def protocol(**changes):
    images, identity, strength = people()
    plain = {
        "name": "people",
        "images": images,
        "pairs": pairs.sample(identity, per_fold=20, folds=5),
        "identity": identity,
        "nuisances": {"noise": strength},
    }
    return Protocol(**(plain | changes))


def templates(**changes):
    """Two templates per person, of two media each; every template against every other."""
    images, identity, _ = people()
    number = identity * 2 + np.tile([0, 0, 0, 1, 1, 1], 20)
    media = np.tile([0, 0, 1, 0, 1, 1], 20)
    drawn = pairs.every(np.arange(40) // 2)
    plain = {"name": "groups", "images": images, "pairs": drawn, "identity": identity}
    return Protocol(
        **(plain | {"templates": TemplateList(number, media, np.linspace(0.5, 1.0, 120))} | changes)
    )
