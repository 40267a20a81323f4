"""The lab's template protocol, in the form of IJB.

Every template contains 1 to 5 hard images from 1 to 3 media.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdmllab.data.pairs import Pairs
from cdmllab.faces import hashing, identity, nuisance
from cdmllab.faces.nuisance import Nuisances
from cdmllab.faces.protocol import LabProtocol, Template

NAME, ABOUT = "ijb", "templates of 1 to 5 hard images, as in IJB"
PEOPLE, EACH = 400, 3  # people, templates per person
STRENGTH = 0.75
IMPOSTORS = 60_000
_FROM = 50_000  # the first person, counted from those of the other protocols


def draw(size: int, seed: int, people: int) -> LabProtocol:
    """Draw the protocol; `people` is the first number of its part of the people.

    See `cdmllab.faces.protocols.load`.
    """
    templates = np.arange(PEOPLE * EACH)
    owner = templates // EACH + people + _FROM
    # Two numbers per template: how many images, and from how many media.
    shape = hashing.uniform(
        hashing.key(seed, 0x7E3, torch.from_numpy(templates + people)), 2
    ).numpy()
    images = np.minimum(1 + (shape[:, 0] * 5).astype(np.int64), 5)  # a draw may be exactly 1
    media = np.minimum(1 + (shape[:, 1] * 3).astype(np.int64), np.minimum(images, 3))
    template = np.repeat(templates, images)
    # The number of each image within its template; images take turns with the media.
    frame = np.arange(len(template)) - np.repeat(np.cumsum(images) - images, images)
    medium = frame % media[template]

    who = torch.from_numpy(owner[template])
    n = _frames(
        seed, who, torch.from_numpy(template), torch.from_numpy(medium), torch.from_numpy(frame)
    )
    chosen = Template(template, medium, detector_score(n))
    return LabProtocol(NAME, size, identity.latents(seed, who), n, who.numpy(), _pair(seed), chosen)


def detector_score(n: Nuisances) -> NDArray[np.float64]:
    """Confidence of a face detector, in (0, 1]: lower for images that show less of the face."""
    hidden = sum(n.values[name] for name in ("mask", "occlusion", "blur", "low_resolution"))
    assert isinstance(hidden, Tensor)
    turned = n.values["yaw"].abs() / 90.0
    score: NDArray[np.float64] = torch.exp(-0.5 * hidden - 0.5 * turned).double().numpy()
    return score


def _frames(seed: int, who: Tensor, template: Tensor, medium: Tensor, frame: Tensor) -> Nuisances:
    """Nuisances of frames: one medium shares all but pose, expression and pixel noise.

    These change a little from frame to frame, as in a video.
    """
    # An image index per medium, far above those of every other protocol.
    shared = template * 8 + medium + (1 << 33)
    n = nuisance.nuisances(seed, who, shared, strength=STRENGTH)
    moved = hashing.uniform(hashing.key(seed, 0xF4A, who, shared, frame), 3) - 0.5
    values = dict(n.values)
    for column, (name, reach) in enumerate((("yaw", 30.0), ("pitch", 15.0), ("expression", 0.3))):
        factor = nuisance.FACTORS[name]
        values[name] = (values[name] + reach * moved[:, column]).clamp(factor.low, factor.high)
    return replace(n, values=values, keys=hashing.mix(n.keys + frame))


def _pair(seed: int) -> Pairs:
    """All genuine pairs of templates, and `IMPOSTORS` random impostor pairs, in one fold."""
    rng = np.random.default_rng((seed, 0x1B))
    # Templates of one person are consecutive.
    start = np.arange(PEOPLE)[:, None] * EACH
    i, j = np.triu_indices(EACH, k=1)
    genuine = np.stack([(start + i).ravel(), (start + j).ravel()], axis=1)
    total = PEOPLE * EACH
    # Of all pairs of templates of different people, draw without repetition.
    a, b = np.triu_indices(total, k=1)
    others = np.flatnonzero(a // EACH != b // EACH)
    drawn = np.sort(rng.choice(others, IMPOSTORS, replace=False))
    first, second = np.concatenate([genuine, np.stack([a[drawn], b[drawn]], axis=1)]).T
    same = np.arange(len(first)) < len(genuine)
    return Pairs(first.copy(), second.copy(), same, np.zeros(len(first), dtype=np.int64))
