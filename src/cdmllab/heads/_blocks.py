"""How a blockwise loss splits the class centres into blocks, and the logits of one block."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from cdmllab.heads._kernels import Elementwise
from cdmllab.margins import Batch, MarginPolicy


@dataclass(frozen=True)
class BlockPlan:
    """Everything that all blocks of one call have in common."""

    policy: MarginPolicy  # if it changes negatives, a copy whose buffers no later batch updates
    changes: bool  # whether the policy changes the negatives' cosines in this call
    sums: bool  # add up the negatives' own losses (reduction "sum") instead of exponentials
    batch: Batch  # passed to `policy.negatives`, detached
    target: Tensor  # [b] cosine to the positive centre (for plain softmax: its logit)
    positive: Tensor  # [b] row of the positive centre, -1 if another rank has it
    holds_all: bool  # no row in `positive` is -1
    inverse: Tensor | None  # [c K] 1 / length of each centre, 0 for a zero one; None: plain softmax
    scale: float
    offset: Tensor | None  # [c] added to each logit after the loss's change
    threshold: float  # negatives with a larger cosine are set to a cosine of 0; 0: no filtering
    block: int  # identities per block
    products: torch.dtype  # of the matrix products; sums are kept in the embeddings' own dtype
    logits: Tensor | None  # [b, c] buffer for the plain logits, to avoid computing them twice
    kernels: Elementwise


class Block(NamedTuple):
    """The position of one block of b x n logits."""

    columns: slice  # of the matrix of logits: its identities
    rows: slice  # of the matrix of centres, K for each identity
    positive: tuple[Tensor, Tensor]  # (samples, columns) of the positive centres in this block


def blocks(identities: int, plan: BlockPlan) -> Iterator[Block]:
    """Iterate over all blocks in order."""
    k = plan.policy.centres_per_identity
    # A -1, for a centre of another rank, stays -1 when rounded down, and sorts before all blocks.
    labels = plan.positive.div(k, rounding_mode="floor")
    # With a single block there is nothing to search for. This spares a GPU the synchronisation
    # that `tolist` below would cost it.
    if plan.holds_all and identities <= plan.block:
        cells = (torch.arange(len(labels), device=labels.device), labels)
        yield Block(slice(0, identities), slice(0, identities * k), cells)
        return
    # Sorting the labels once lets each block find its own positive centres as one slice.
    order = labels.argsort()
    # Positions in the sorted labels at which the blocks begin, and the last one ends.
    edges = [*range(0, identities, plan.block), identities]
    at = torch.searchsorted(labels[order], torch.tensor(edges, device=labels.device)).tolist()
    for i, (first, last) in enumerate(pairwise(edges)):
        samples = order[at[i] : at[i + 1]]
        cells = (samples, labels[samples] - first)
        yield Block(slice(first, last), slice(first * k, last * k), cells)


class Logits(NamedTuple):
    """The logits of a block before the margin."""

    plain: Tensor  # [b, n] scale x cosine
    pick: Tensor | None  # [b, n] index of the nearest of the K centres


def block_logits(
    scaled: Tensor, part: Tensor, inverse: Tensor | None, bias: Tensor | None, plan: BlockPlan
) -> Logits:
    """Compute the plain logits of a block, in a new tensor.

    Parameters
    ----------
    scaled : scale x embedding, in the dtype of the matrix products, shape (b, d)
    part : the centres of the block, shape (n K, d)
    inverse : 1 / length of each centre, shape (n K,); None for plain softmax
    bias : shape (n,), for plain softmax only
    """
    plain = scaled @ part.to(scaled.dtype).T  # [b, n K]
    # Plain softmax: the centres keep their lengths, and each identity has a bias.
    if inverse is None:
        assert bias is not None
        return Logits(plain.to(part.dtype).add_(bias), None)
    # A bfloat16 product becomes float32 (or float64) here, which cannot happen in place.
    plain = plain.mul_(inverse) if plain.dtype == inverse.dtype else plain * inverse
    k = plan.policy.centres_per_identity
    if k == 1:
        return Logits(plain, None)
    best = plain.unflatten(1, (-1, k)).max(dim=2)  # over the last axis of [b, n, K]
    return Logits(best.values, best.indices)


def filtered(z: Tensor, plan: BlockPlan) -> tuple[Tensor, Tensor | None]:
    """Set logits (b, n) above the threshold to 0, in a new tensor; also return their mask."""
    if not plan.threshold:
        return z, None
    above = z > plan.threshold * plan.scale
    return z.masked_fill(above, 0.0), above
