"""Random numbers tied to identities, not to ranks, and the sampling of identities per step."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Identities that share a generator. A rank draws whole blocks and keeps its part, so the numbers of
# an identity do not depend on how many ranks there are.
BLOCK = 4096


def by_identity(
    held: range,
    key: tuple[int, ...],
    draw: Callable[[np.random.Generator], NDArray[np.float32]],
    width: int,
) -> Tensor:
    """Draw random numbers for the identities in `held`, however these are split over ranks.

    Parameters
    ----------
    held : the identities
    key : seeds the stream of random numbers
    draw : maps a generator to an array of shape (BLOCK, width)
    width : random numbers per identity

    Returns
    -------
    Tensor of shape (len(held), width), float32.
    """
    result = torch.empty(len(held), width, dtype=torch.float32)
    # Every block that overlaps `held`; the first and the last may reach beyond it.
    for block in range(held.start // BLOCK, -(-held.stop // BLOCK)) if held else ():
        here = range(max(held.start, block * BLOCK), min(held.stop, (block + 1) * BLOCK))
        # Draw the random numbers of the whole block, then cut out those that are held.
        values = draw(np.random.default_rng([*key, block]))[
            here.start - block * BLOCK : here.stop - block * BLOCK
        ]
        result[here.start - held.start : here.stop - held.start] = torch.from_numpy(values)
    return result


def first_centres(held: range, seed: int, dim: int, per_identity: int, shrink: float) -> Tensor:
    """Initial class centres, standard normal divided by `shrink`; shape (len(held) K, d)."""
    width = per_identity * dim
    drawn = by_identity(
        held, (seed,), lambda g: g.standard_normal((BLOCK, width), dtype=np.float32), width
    )
    return drawn.div_(shrink).view(-1, dim).to(torch.get_default_dtype())


def drawn(
    labels: Tensor, held: range, num_identities: int, rate: float, key: tuple[int, ...]
) -> Tensor:
    """Sample the identities of one step: those in the batch, and a random choice of the others.

    Each of the others is kept with the probability that makes `rate` x `num_identities` the
    expected total; if the batch alone has that many, none is kept. arcface_torch's Partial FC_
    draws an exact number instead: int(rate x identities of the rank) on every rank, those of the
    batch included. Here the number varies (1,000 of 10,000 by about 30), and in exchange the sample
    does not depend on how the identities are split over ranks.

    .. _FC: https://github.com/deepinsight/insightface/blob/master/recognition/arcface_torch/partial_fc_v2.py

    Parameters
    ----------
    labels : labels of the batch on all ranks, shape (n,)
    held : the identities to sample from
    num_identities : identities on all ranks
    rate : expected share of them, in (0, 1]
    key : seeds the sample

    Returns
    -------
    int64 Tensor of shape (m,), ascending, relative to the first identity in `held`.
    """
    present = labels.unique()
    others = num_identities - len(present)
    # The identities in the batch are certain; the others share the rest of the expected total.
    chance = max(rate * num_identities - len(present), 0.0) / max(others, 1)
    # One number for each identity that is held, [held, 1].
    uniform = by_identity(held, key, lambda g: g.random((BLOCK, 1), dtype=np.float32), 1)
    chosen = (uniform.squeeze(1) < chance).to(labels.device)
    # Labels whose identities are held elsewhere are added by their own rank.
    chosen[present[(present >= held.start) & (present < held.stop)] - held.start] = True
    return chosen.nonzero().squeeze(1)
