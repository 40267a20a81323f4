"""One walk over the class centres, block by block: what the negatives of each sample add up to, and its gradient.

The forward pass keeps a running sum of exp(logit) per sample (with a running maximum taken off where the logits could
overflow: the streaming softmax of Milakov and Gimelshein, 2018); the backward pass recomputes each block, or reads it
from a buffer of logits. What concerns single cells, the own class and the hardest negative, is done apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cdmllab.heads.elementwise import Elementwise
from cdmllab.margins import Batch, MarginPolicy

# Up to this scale exp(logit) and its sum over 10^8 identities stay within float32, so that no maximum is needed.
SAFE_SCALE = 70.0


@dataclass(frozen=True)
class Walk:
    """What stays the same along the way."""

    policy: MarginPolicy  # with buffers that no later batch changes, if it changes negatives
    rows: Batch  # what `policy.negatives` may look at, detached
    target: Tensor  # [b] cosine to the own class centre (for plain softmax: the own logit)
    own: Tensor  # [b] row of the own class centre, -1 where that is not among these centres
    holds_all: bool  # no row of `own` is -1
    scale: float
    block: int  # identities a block
    products: torch.dtype  # of the matrix products; sums are kept in the embeddings' own dtype
    logits: Tensor | None  # [b, c] to hold the plain logits, instead of computing them twice
    parts: Elementwise


class Negatives(NamedTuple):
    """What a walk finds out about the negatives of each sample."""

    partition: Tensor  # [b] log of the sum of exp(logit)
    target: Tensor  # [b] as in `Walk`, with a gradient
    hardest: Tensor  # [b] largest cosine, if the policy wants it
    hard_sum: Tensor  # [b] sum of the cosines of hard negatives, if the policy wants it; no gradient
    hard_count: Tensor  # [b] and how many they are

    @property
    def hard_mean(self) -> Tensor:
        """Mean cosine over the hard negatives, 0 without any; shape (b,)."""
        return self.hard_sum / self.hard_count.clamp_min(1.0)


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
    """One block of b x n logits and where it stands."""

    columns: slice  # of the identities
    rows: slice  # of the centres
    own: tuple[Tensor, Tensor]  # cells of this block that belong to the own class


def _blocks(identities: int, walk: Walk) -> Iterator[_Block]:
    k = walk.policy.centres_per_identity
    labels = walk.own.div(k, rounding_mode="floor")
    if walk.holds_all and identities <= walk.block:  # as on a GPU, which would have to answer where blocks end
        cells = (torch.arange(len(labels), device=labels.device), labels)
        yield _Block(slice(0, identities), slice(0, identities * k), cells)
        return
    order = labels.argsort()
    edges = [*range(0, identities, walk.block), identities]
    at = torch.searchsorted(labels[order], torch.tensor(edges, device=labels.device)).tolist()
    for i, (first, last) in enumerate(pairwise(edges)):
        samples = order[at[i] : at[i + 1]]
        yield _Block(slice(first, last), slice(first * k, last * k), (samples, labels[samples] - first))


class _Logits(NamedTuple):
    """The logits of a block before the margin."""

    plain: Tensor  # [b, n] scale x cosine
    pick: Tensor | None  # [b, n] which of the K centres is the nearest


def _logits(scaled: Tensor, part: Tensor, inverse: Tensor | None, bias: Tensor | None, walk: Walk) -> _Logits:
    """The plain logits of a block, in a tensor of its own.

    `scaled` is scale x embedding in the products' dtype, `inverse` 1 / length of the centres in `part`.
    """
    plain = scaled @ part.to(scaled.dtype).T
    if inverse is None:
        assert bias is not None
        return _Logits(plain.to(part.dtype).add_(bias), None)
    plain = plain.mul_(inverse) if plain.dtype == inverse.dtype else plain * inverse
    k = walk.policy.centres_per_identity
    if k == 1:
        return _Logits(plain, None)
    best = plain.unflatten(1, (-1, k)).max(dim=2)
    return _Logits(best.values, best.indices)


class _Negatives(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, centres: Tensor, bias: Tensor | None, scale: Tensor, walk: Walk
    ) -> tuple[Tensor, ...]:
        policy, s = walk.policy, walk.scale
        safe = policy.uses_cosine and not policy.changes_negatives and s <= SAFE_SCALE
        largest = None if safe else x.new_full((len(x),), -torch.inf)
        total, hard_sum, hard_count = (x.new_zeros(len(x)) for _ in range(3))
        hardest, where = x.new_full((len(x),), -torch.inf), torch.zeros_like(walk.own)
        inverse = x.new_empty(len(centres)) if policy.uses_cosine else None
        k = policy.centres_per_identity
        scaled = (x * s if policy.uses_cosine else x).to(walk.products)
        for block in _blocks(len(centres) // k, walk):
            part = centres[block.rows]
            if inverse is not None:
                length = torch.linalg.vector_norm(part, dim=1)
                inverse[block.rows] = torch.where(length > 0.0, length.reciprocal(), 0.0)
            z, pick = _logits(scaled, part, _at(inverse, block.rows), _at(bias, block.columns), walk)
            if walk.logits is not None:
                walk.logits[:, block.columns] = z
            z[block.own] = -torch.inf
            if "hardest_negative" in policy.statistics:
                best = z.max(dim=1)
                row = (best.indices + block.columns.start) * k
                if pick is not None:
                    row += pick.gather(1, best.indices.unsqueeze(1)).squeeze(1)
                where = torch.where(best.values > hardest, row, where)
                hardest = torch.maximum(hardest, best.values)
            if policy.changes_negatives:
                cosines = z / s
                if "hard_negative_mean" in policy.statistics:
                    hard = policy.hard(cosines, walk.rows) & cosines.isfinite()
                    hard_sum += torch.where(hard, cosines, 0.0).sum(dim=1)
                    hard_count += hard.sum(dim=1)
                z = policy.negatives(cosines, walk.rows) * s
                z[block.own] = -torch.inf
            if largest is None:
                total += walk.parts.add_up(z)
            else:
                largest, total = walk.parts.accumulate(z, largest, total)
        partition = total.log() if largest is None else total.log() + largest
        # The buffer is the caller's too: saved so, it makes autograd complain where the caller has changed it.
        ctx.save_for_backward(x, centres, bias, scale, partition, where, inverse, walk.logits if k == 1 else None)
        ctx.walk = replace(walk, logits=None)
        ctx.mark_non_differentiable(hard_sum, hard_count)
        return partition, walk.target.clone(), hardest / s, hard_sum, hard_count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grads[0].device.type, enabled=False):  # a backward pass may be called under autocast
            return _backward(ctx, *grads[:3])


def _backward(ctx: Any, g_partition: Tensor, g_target: Tensor, g_hardest: Tensor) -> tuple[Tensor | None, ...]:
    x, centres, bias, scale, partition, where, inverse, logits = ctx.saved_tensors
    partition = partition.detach()
    walk: Walk = ctx.walk
    policy, s = walk.policy, walk.scale
    k = policy.centres_per_identity
    # What a whole row of cells has in common is multiplied in where a row is one number, not a thousand.
    weight = (g_partition * (s if policy.uses_cosine else 1.0)).unsqueeze(1)
    scaled = (x * s if policy.uses_cosine else x).to(walk.products)
    weighted = (x * weight).to(walk.products)
    d_x, d_centres = torch.zeros_like(x), torch.empty_like(centres)
    d_bias = None if bias is None else torch.empty_like(bias)
    d_scale = torch.zeros_like(scale) if ctx.needs_input_grad[3] else None
    for block in _blocks(len(centres) // k, walk):
        part, shrink = centres[block.rows], _at(inverse, block.rows)
        if logits is not None:
            z, pick = logits[:, block.columns], None
        else:
            z, pick = _logits(scaled, part, shrink, _at(bias, block.columns), walk)
        slope = None
        if policy.changes_negatives:
            z, slope = _changed(z / s, walk)
            z *= s
        a = walk.parts.pull(z, partition, logits is not None or d_scale is not None)
        a[block.own] = 0.0
        if d_scale is not None:
            d_scale += (a * z).sum(dim=1) @ g_partition / s
        if slope is not None:
            a *= slope
        if pick is not None:
            a = a.new_zeros(*a.shape, k).scatter_(2, pick.unsqueeze(2), a.unsqueeze(2)).flatten(1)
        if d_bias is not None:
            torch.mv(a.T, g_partition, out=d_bias[block.columns])
        if shrink is not None:
            a *= shrink
        if walk.products == x.dtype:
            d_x.addmm_(a, part)
            d_part = torch.mm(a.T, weighted, out=d_centres[block.rows])
        else:
            a = a.to(walk.products)
            d_x += a @ part.to(walk.products)
            d_part = d_centres[block.rows].copy_(a.T @ weighted)
        if shrink is not None:  # only what turns a centre counts, not what lengthens it
            along = torch.linalg.vecdot(d_part, part) * shrink.square()
            d_part.addcmul_(part, along.unsqueeze(1), value=-1.0)
    d_x *= weight
    if len(centres):  # a shard may be empty
        own = walk.own.clamp_min(0)  # where it is -1, `g_target` is 0
        _pull_cells(own, g_target, x, centres, inverse, d_x, d_centres)
        if d_bias is not None:
            d_bias.index_add_(0, own, g_target)
        if "hardest_negative" in policy.statistics:
            _pull_cells(where, g_hardest, x, centres, inverse, d_x, d_centres)
    return d_x, d_centres, d_bias, d_scale, None


def _pull_cells(
    rows: Tensor, pull: Tensor, x: Tensor, centres: Tensor, inverse: Tensor | None, d_x: Tensor, d_centres: Tensor
) -> None:
    """Add the gradient of one cosine (or product) of each sample, with the centre in `rows`, in place."""
    part, force = centres[rows], pull.unsqueeze(1) * x
    if inverse is not None:
        shrink = inverse[rows].unsqueeze(1)
        part = part * shrink
        force = (force - part * torch.linalg.vecdot(force, part).unsqueeze(1)) * shrink
    d_x.addcmul_(pull.unsqueeze(1), part)
    d_centres.index_add_(0, rows, force)


def _at(values: Tensor | None, rows: slice) -> Tensor | None:
    return None if values is None else values[rows]


def _changed(cosines: Tensor, walk: Walk) -> tuple[Tensor, Tensor]:
    """The changed cosines of a block and their slope in the plain ones."""
    with torch.enable_grad():
        leaf = cosines.detach().requires_grad_()
        value = walk.policy.negatives(leaf, walk.rows)
        (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope
