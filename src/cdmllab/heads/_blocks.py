"""The blocks of class centres that a blockwise loss goes through, and the logits of one block."""

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
    """What is the same for all blocks."""

    policy: MarginPolicy  # with buffers that no later batch changes, if it changes negatives
    changes: bool  # whether the policy changes the negatives' cosines this time
    sums: bool  # whether the negatives' own losses are added up, instead of their exponentials
    batch: Batch  # what `policy.negatives` may look at, detached
    target: Tensor  # [b] cosine to the positive centre (for plain softmax: its logit)
    positive: Tensor  # [b] row of the positive centre, -1 where that is not among these centres
    holds_all: bool  # no row in `positive` is -1
    inverse: Tensor | None  # [c K] 1 / length of each centre, 0 for a zero one; None: plain softmax
    scale: float
    offset: Tensor | None  # [c] what is added to each logit after the loss's change
    threshold: float  # negatives with a larger cosine count as a cosine of 0; 0: there are none
    block: int  # identities a block
    products: torch.dtype  # of the matrix products; sums are kept in the embeddings' own dtype
    logits: Tensor | None  # [b, c] to hold the plain logits, instead of computing them twice
    kernels: Elementwise


class Block(NamedTuple):
    """Where one block of b x n logits is."""

    columns: slice  # of the identities
    rows: slice  # of the centres
    positive: tuple[Tensor, Tensor]  # cells of this block that belong to a positive centre


def blocks(identities: int, plan: BlockPlan) -> Iterator[Block]:
    """All blocks, one after the other."""
    k = plan.policy.centres_per_identity
    labels = plan.positive.div(k, rounding_mode="floor")
    # As on a GPU, which would have to answer where blocks end.
    if plan.holds_all and identities <= plan.block:
        cells = (torch.arange(len(labels), device=labels.device), labels)
        yield Block(slice(0, identities), slice(0, identities * k), cells)
        return
    order = labels.argsort()
    edges = [*range(0, identities, plan.block), identities]
    at = torch.searchsorted(labels[order], torch.tensor(edges, device=labels.device)).tolist()
    for i, (first, last) in enumerate(pairwise(edges)):
        samples = order[at[i] : at[i + 1]]
        cells = (samples, labels[samples] - first)
        yield Block(slice(first, last), slice(first * k, last * k), cells)


class Logits(NamedTuple):
    """The logits of a block before the margin."""

    plain: Tensor  # [b, n] scale x cosine
    pick: Tensor | None  # [b, n] which of the K centres is the nearest


def block_logits(
    scaled: Tensor, part: Tensor, inverse: Tensor | None, bias: Tensor | None, plan: BlockPlan
) -> Logits:
    """The plain logits of a block, in a tensor of its own.

    Parameters
    ----------
    scaled : scale x embedding, in the dtype of the products, shape (b, d)
    part : the centres of the block, shape (n K, d)
    inverse : 1 / length of each, shape (n K,); None for plain softmax, which has a `bias` (n,)
    """
    plain = scaled @ part.to(scaled.dtype).T
    if inverse is None:
        assert bias is not None
        return Logits(plain.to(part.dtype).add_(bias), None)
    plain = plain.mul_(inverse) if plain.dtype == inverse.dtype else plain * inverse
    k = plan.policy.centres_per_identity
    if k == 1:
        return Logits(plain, None)
    best = plain.unflatten(1, (-1, k)).max(dim=2)
    return Logits(best.values, best.indices)


def filtered(z: Tensor, plan: BlockPlan) -> tuple[Tensor, Tensor | None]:
    """Logits (b, n) with those above the threshold set to 0, in a new tensor, and which
    these are.
    """
    if not plan.threshold:
        return z, None
    above = z > plan.threshold * plan.scale
    return z.masked_fill(above, 0.0), above
