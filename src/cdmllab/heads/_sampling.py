"""Random numbers that belong to identities, not to ranks, and the draw of identities that count in
a step.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 4096  # identities that share a generator


def by_identity(
    held: range,
    key: tuple[int, ...],
    draw: Callable[[np.random.Generator], NDArray[np.float32]],
    width: int,
) -> Tensor:
    """What is drawn for the identities in `held`, the same however identities are shared out.

    Parameters
    ----------
    held : the identities
    key : chooses the stream of numbers
    draw : from a generator to an array of shape (BLOCK, width)
    width : numbers an identity

    Returns
    -------
    Tensor of shape (len(held), width), float32.
    """
    result = torch.empty(len(held), width, dtype=torch.float32)
    for block in range(held.start // BLOCK, -(-held.stop // BLOCK)) if held else ():
        here = range(max(held.start, block * BLOCK), min(held.stop, (block + 1) * BLOCK))
        values = draw(np.random.default_rng([*key, block]))[
            here.start - block * BLOCK : here.stop - block * BLOCK
        ]
        result[here.start - held.start : here.stop - held.start] = torch.from_numpy(values)
    return result


def first_centres(held: range, seed: int, dim: int, per_identity: int, shrink: float) -> Tensor:
    """Class centres to start from: standard normal coordinates divided by `shrink`; shape
    (len(held) K, d).
    """
    width = per_identity * dim
    drawn = by_identity(
        held, (seed,), lambda g: g.standard_normal((BLOCK, width), dtype=np.float32), width
    )
    return drawn.div_(shrink).view(-1, dim).to(torch.get_default_dtype())


def drawn(
    labels: Tensor, held: range, num_identities: int, rate: float, key: tuple[int, ...]
) -> Tensor:
    """Which of the identities in `held` count for a batch: those in the batch, and others by
    chance.

    The chance is such that `rate` x `num_identities` are to be expected; if the batch has as many,
    there are no others. arcface_torch's Partial FC draws an exact number instead: int(rate x those
    a rank holds) on every rank, the batch's included. Here the number varies (1,000 of 10,000 by
    about 30), and in exchange the draw does not depend on how identities are shared out over ranks.

    Parameters
    ----------
    labels : of the batch on all ranks, shape (n,)
    held : the identities to choose from
    num_identities, rate : as said; `rate` in (0, 1]
    key : chooses the draw

    Returns
    -------
    int64 Tensor of shape (m,), ascending, counted from the first in `held`.
    """
    present = labels.unique()
    others = num_identities - len(present)
    chance = max(rate * num_identities - len(present), 0.0) / max(others, 1)
    counts = (
        by_identity(held, key, lambda g: g.random((BLOCK, 1), dtype=np.float32), 1).squeeze(1)
        < chance
    )
    counts = counts.to(labels.device)
    counts[present[(present >= held.start) & (present < held.stop)] - held.start] = True
    return counts.nonzero().squeeze(1)
