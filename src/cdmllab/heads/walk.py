"""A walk over all class centres, one block at a time: the sum over negatives and its gradient.

Written out because autograd would keep the b x c matrix several times. No exponent overflows, since the
largest logit so far is taken off (the streaming softmax of Milakov and Gimelshein, 2018).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cdmllab.heads.elementwise import Elementwise
from cdmllab.margins import Batch, MarginPolicy


@dataclass(frozen=True)
class Walk:
    """What stays the same along the way."""

    policy: MarginPolicy
    rows: Batch  # what `policy.negatives` may look at, detached
    target: Tensor  # [b] cosine to the own class centre (for plain softmax: the own logit)
    block: int  # identities a block
    products: torch.dtype  # of the matrix products; sums are kept in the embeddings' own dtype
    logits: Tensor | None  # [b, c] to hold the plain logits, instead of computing them twice
    parts: Elementwise


class Negatives(NamedTuple):
    """What a walk finds out about the negatives of each sample."""

    partition: Tensor  # [b] log of the sum of exp(logit)
    target: Tensor  # [b] as in `Walk`, with a gradient
    hardest: Tensor  # [b] largest cosine, if the policy wants it
    hard_mean: Tensor  # [b] mean cosine over hard negatives, if the policy wants it; no gradient


def negatives(x: Tensor, centres: Tensor, bias: Tensor | None, scale: Tensor, walk: Walk) -> Negatives:
    """Walk over all centres.

    Parameters
    ----------
    x : unit embeddings, shape (b, d); for plain softmax as they are
    centres : any length, shape (c K, d)
    bias : shape (c,), for plain softmax only
    scale : scalar
    walk : see `Walk`
    """
    return Negatives(*_Negatives.apply(x, centres, bias, scale, walk))


class _Block(NamedTuple):
    """One block of b x n cosines and what it was made of."""

    columns: slice  # of the identities
    rows: slice  # of the centres
    own: tuple[Tensor, Tensor]  # cells of this block that belong to the own class
    inverse: Tensor | None  # [n K] 1 / length of the centres


def _blocks(centres: Tensor, walk: Walk) -> Iterator[_Block]:
    labels, k = walk.rows.labels, walk.policy.centres_per_identity
    identities = len(centres) // k
    order = labels.argsort()
    edges = [*range(0, identities, walk.block), identities]
    at = torch.searchsorted(labels[order], torch.tensor(edges, device=labels.device)).tolist()
    for i, (first, last) in enumerate(pairwise(edges)):
        samples = order[at[i] : at[i + 1]]
        rows = slice(first * k, last * k)
        inverse = None
        if walk.policy.uses_cosine:
            length = torch.linalg.vector_norm(centres[rows], dim=1)
            inverse = torch.where(length > 0.0, length.reciprocal(), 0.0)
        yield _Block(slice(first, last), rows, (samples, labels[samples] - first), inverse)


class _Logits(NamedTuple):
    """The logits of a block before the margin."""

    plain: Tensor  # [b, n] scale x cosine
    pick: Tensor | None  # [b, n] which of the K centres is the nearest


def _logits(x: Tensor, centres: Tensor, bias: Tensor | None, scale: float, walk: Walk, block: _Block) -> _Logits:
    """The plain logits of a block, in a tensor of its own."""
    plain = _product(x, centres[block.rows].T, walk)
    if bias is not None:
        return _Logits(plain.add_(bias[block.columns]), None)
    assert block.inverse is not None
    plain.mul_(block.inverse * scale)
    k = walk.policy.centres_per_identity
    if k == 1:
        return _Logits(plain, None)
    best = plain.unflatten(1, (-1, k)).max(dim=2)
    return _Logits(best.values, best.indices)


def _product(a: Tensor, b: Tensor, walk: Walk, out: Tensor | None = None) -> Tensor:
    with torch.autocast(a.device.type, enabled=False):  # a backward pass may be called under autocast
        if walk.products == a.dtype:
            return torch.mm(a, b, out=out)
        narrow = torch.mm(a.to(walk.products), b.to(walk.products))
        return narrow.to(a.dtype) if out is None else out.copy_(narrow)


class _Negatives(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, centres: Tensor, bias: Tensor | None, scale: Tensor, walk: Walk
    ) -> tuple[Tensor, ...]:
        policy, s = walk.policy, float(scale)
        largest = x.new_full((len(x),), -torch.inf)
        total, hard_sum, hard_count = (x.new_zeros(len(x)) for _ in range(3))
        hardest, where = largest.clone(), torch.zeros_like(walk.rows.labels)
        for block in _blocks(centres, walk):
            z, _ = _logits(x, centres, bias, s, walk, block)
            if walk.logits is not None:
                walk.logits[:, block.columns] = z
            z[block.own] = -torch.inf
            if "hardest_negative" in policy.statistics:
                best = z.max(dim=1)
                where = torch.where(best.values > hardest, best.indices + block.columns.start, where)
                hardest = torch.maximum(hardest, best.values)
            if policy.changes_negatives:
                cosines = z / s
                if "hard_negative_mean" in policy.statistics:
                    hard = policy.hard(cosines, walk.rows) & cosines.isfinite()
                    hard_sum += torch.where(hard, cosines, 0.0).sum(dim=1)
                    hard_count += hard.sum(dim=1)
                z = policy.negatives(cosines, walk.rows) * s
                z[block.own] = -torch.inf
            largest, total = walk.parts.accumulate(z, largest, total)
        partition = total.log() + largest
        hardest, hard_mean = hardest / s, hard_sum / hard_count.clamp_min(1.0)
        ctx.save_for_backward(x, centres, bias, scale, partition, where)
        ctx.walk = walk
        ctx.mark_non_differentiable(hard_mean)
        return partition, walk.target.clone(), hardest, hard_mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        g_partition, g_target, g_hardest, _ = grads
        x, centres, bias, scale, partition, where = ctx.saved_tensors
        partition = partition.detach()
        walk: Walk = ctx.walk
        policy, s = walk.policy, float(scale)
        k = policy.centres_per_identity
        d_x, d_centres = torch.zeros_like(x), torch.empty_like(centres)
        d_bias = None if bias is None else torch.empty_like(bias)
        d_scale = torch.zeros_like(scale)
        for block in _blocks(centres, walk):
            if walk.logits is not None and k == 1:
                z, pick = walk.logits[:, block.columns], None
            else:
                z, pick = _logits(x, centres, bias, s, walk, block)
            # a: gradient with respect to the block's cosines (for plain softmax: logits).
            slope = None
            if policy.changes_negatives:
                changed, slope = _changed(z / s, walk)
                z = changed * s
            a = walk.parts.pull(z, partition, g_partition)
            a[block.own] = 0.0
            if ctx.needs_input_grad[3]:
                d_scale += (a * z).sum() / s
            if policy.uses_cosine:
                a *= s if slope is None else s * slope
            a[block.own] = g_target[block.own[0]]
            if "hardest_negative" in policy.statistics:
                inside = (where >= block.columns.start) & (where < block.columns.stop)
                samples = inside.nonzero().squeeze(1)
                a[samples, where[samples] - block.columns.start] += g_hardest[samples]
            if pick is not None:
                a = torch.zeros(*a.shape, k, dtype=a.dtype, device=a.device).scatter_(
                    2, pick.unsqueeze(2), a.unsqueeze(2)
                )
                a = a.flatten(1)
            if d_bias is not None:
                torch.sum(a, dim=0, out=d_bias[block.columns])
            part = centres[block.rows]
            if block.inverse is not None:
                a *= block.inverse
            d_x += _product(a, part, walk)
            d_part = _product(a.T, x, walk, out=d_centres[block.rows])
            if block.inverse is not None:  # only what turns a centre counts, not what lengthens it
                along = torch.linalg.vecdot(d_part, part) * block.inverse.square()
                d_part.addcmul_(part, along.unsqueeze(1), value=-1.0)
        return d_x, d_centres, d_bias, d_scale if ctx.needs_input_grad[3] else None, None


def _changed(cosines: Tensor, walk: Walk) -> tuple[Tensor, Tensor]:
    """The changed cosines of a block and their slope in the plain ones."""
    with torch.enable_grad():
        leaf = cosines.detach().requires_grad_()
        value = walk.policy.negatives(leaf, walk.rows)
        (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope
