"""A walk over the class centres, block by block: what stays the same on the way, and the logits of a block."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from cdmllab.heads._kernels import Elementwise
from cdmllab.margins import Batch, MarginPolicy

# Up to this scale exp(logit) and its sum over 10^8 identities stay within float32, so that no maximum is needed.
SAFE_SCALE = 70.0


@dataclass(frozen=True)
class Walk:
    """What stays the same along the way."""

    policy: MarginPolicy  # with buffers that no later batch changes, if it changes negatives
    changes: bool  # whether the negatives are summed up as the policy changes them
    rows: Batch  # what `policy.negatives` may look at, detached
    target: Tensor  # [b] cosine to the own class centre (for plain softmax: the own logit)
    own: Tensor  # [b] row of the own class centre, -1 where that is not among these centres
    holds_all: bool  # no row of `own` is -1
    inverse: Tensor | None  # [c K] 1 / length of each centre, 0 for a zero one; None for plain softmax
    scale: float
    threshold: float  # negatives with a larger cosine count as a cosine of 0; 0: there are none
    block: int  # identities a block
    products: torch.dtype  # of the matrix products; sums are kept in the embeddings' own dtype
    logits: Tensor | None  # [b, c] to hold the plain logits, instead of computing them twice
    parts: Elementwise


class Block(NamedTuple):
    """One block of b x n logits and where it is."""

    columns: slice  # of the identities
    rows: slice  # of the centres
    own: tuple[Tensor, Tensor]  # cells of this block that belong to the own class


def blocks(identities: int, walk: Walk) -> Iterator[Block]:
    """All blocks, one after the other."""
    k = walk.policy.centres_per_identity
    labels = walk.own.div(k, rounding_mode="floor")
    if walk.holds_all and identities <= walk.block:  # as on a GPU, which would have to answer where blocks end
        cells = (torch.arange(len(labels), device=labels.device), labels)
        yield Block(slice(0, identities), slice(0, identities * k), cells)
        return
    order = labels.argsort()
    edges = [*range(0, identities, walk.block), identities]
    at = torch.searchsorted(labels[order], torch.tensor(edges, device=labels.device)).tolist()
    for i, (first, last) in enumerate(pairwise(edges)):
        samples = order[at[i] : at[i + 1]]
        yield Block(slice(first, last), slice(first * k, last * k), (samples, labels[samples] - first))


class Logits(NamedTuple):
    """The logits of a block before the margin."""

    plain: Tensor  # [b, n] scale x cosine
    pick: Tensor | None  # [b, n] which of the K centres is the nearest


def block_logits(scaled: Tensor, part: Tensor, inverse: Tensor | None, bias: Tensor | None, walk: Walk) -> Logits:
    """The plain logits of a block, in a tensor of its own.

    `scaled` is scale x embedding in the products' dtype, `inverse` 1 / length of the centres in `part`.
    """
    plain = scaled @ part.to(scaled.dtype).T
    if inverse is None:
        assert bias is not None
        return Logits(plain.to(part.dtype).add_(bias), None)
    plain = plain.mul_(inverse) if plain.dtype == inverse.dtype else plain * inverse
    k = walk.policy.centres_per_identity
    if k == 1:
        return Logits(plain, None)
    best = plain.unflatten(1, (-1, k)).max(dim=2)
    return Logits(best.values, best.indices)


def filtered(z: Tensor, walk: Walk) -> tuple[Tensor, Tensor | None]:
    """The logits of a block [b, n] with those above the threshold set to 0, and which these are; a new tensor then."""
    if not walk.threshold:
        return z, None
    above = z > walk.threshold * walk.scale
    return z.masked_fill(above, 0.0), above


def changed(cosines: Tensor, walk: Walk) -> tuple[Tensor, Tensor]:
    """The changed cosines of a block and their slope in the plain ones."""
    with torch.enable_grad():
        leaf = cosines.detach().requires_grad_()
        value = walk.policy.negatives(leaf, walk.rows)
        (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope
