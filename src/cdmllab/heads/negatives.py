"""One walk over the class centres: what the negatives of each sample add up to, and its gradient.

The forward pass keeps a running sum of exp(logit) per sample (with a running maximum taken off
where the logits could overflow: the streaming softmax of Milakov and Gimelshein, 2018); the
backward pass recomputes each block, or reads it from a buffer of logits. Single cells, of the
positive centre and the hardest negative, are treated apart.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cdmllab.heads._blockwise_softmax import SAFE_SCALE, Block, Walk, block_logits, blocks, changed, filtered


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
    centres : shape (c K, d), of lengths that can be squared
    bias : shape (c,), for plain softmax only
    scale : scalar
    walk : see `Walk`
    """
    return Negatives(*_Negatives.apply(x, centres, bias, scale, walk))


class _Hardest:
    """The largest negative cosine of each sample so far, and where it is."""

    def __init__(self, x: Tensor, walk: Walk) -> None:
        self.value = x.new_full((len(x),), -torch.inf)  # [b] a logit
        self.row = torch.zeros_like(walk.own)  # [b] of the centres
        self.weight = x.new_ones(len(x))  # [b] of its gradient: 0 where it is a filtered one
        self.k = walk.policy.centres_per_identity

    def update(self, z: Tensor, pick: Tensor | None, above: Tensor | None, block: Block) -> None:
        """Take in the logits of a block [b, n], which of the K centres they are of, and which are filtered."""
        best = z.max(dim=1)
        at = best.indices.unsqueeze(1)
        row = (best.indices + block.columns.start) * self.k
        if pick is not None:
            row += pick.gather(1, at).squeeze(1)
        better = best.values > self.value
        self.row = torch.where(better, row, self.row)
        if above is not None:
            self.weight = torch.where(better, (~above.gather(1, at).squeeze(1)).to(z.dtype), self.weight)
        self.value = torch.maximum(self.value, best.values)


class _Negatives(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, centres: Tensor, bias: Tensor | None, scale: Tensor, walk: Walk
    ) -> tuple[Tensor, ...]:
        policy, s, k = walk.policy, walk.scale, walk.policy.centres_per_identity
        safe = policy.uses_cosine and not walk.changes and s <= SAFE_SCALE
        largest = None if safe else x.new_full((len(x),), -torch.inf)
        total, hard_sum, hard_count = (x.new_zeros(len(x)) for _ in range(3))
        hardest = _Hardest(x, walk)
        scaled = (x * s if policy.uses_cosine else x).to(walk.products)
        for block in blocks(len(centres) // k, walk):
            inverse, offset = _at(walk.inverse, block.rows), _at(bias, block.columns)
            z, pick = block_logits(scaled, centres[block.rows], inverse, offset, walk)
            if walk.logits is not None:
                walk.logits[:, block.columns] = z
            z, above = filtered(z, walk)
            z[block.own] = -torch.inf
            if "hardest_negative" in policy.statistics:
                hardest.update(z, pick, above, block)
            wants_hard = "hard_negative_mean" in policy.statistics
            cosines = z / s if walk.changes or wants_hard else z
            if wants_hard:
                hard = policy.hard(cosines, walk.rows) & cosines.isfinite()
                hard_sum += torch.where(hard, cosines, 0.0).sum(dim=1)
                hard_count += hard.sum(dim=1)
            if walk.changes:
                z = policy.negatives(cosines, walk.rows) * s
                z[block.own] = -torch.inf
            if largest is None:
                total += walk.parts.add_up(z)
            else:
                largest, total = walk.parts.accumulate(z, largest, total)
        partition = total.log() if largest is None else total.log() + largest
        # The buffer is the caller's too: saved so, it makes autograd complain where the caller has changed it.
        buffer = walk.logits if k == 1 else None
        ctx.save_for_backward(x, centres, bias, scale, partition, hardest.row, hardest.weight, buffer)
        ctx.walk = replace(walk, logits=None)
        ctx.mark_non_differentiable(hard_sum, hard_count)
        return partition, walk.target.clone(), hardest.value / s, hard_sum, hard_count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grads[0].device.type, enabled=False):  # a backward pass may be called under autocast
            return _backward(ctx, *grads[:3])


def _backward(ctx: Any, g_partition: Tensor, g_target: Tensor, g_hardest: Tensor) -> tuple[Tensor | None, ...]:
    x, centres, bias, scale, partition, hardest, hardest_weight, logits = ctx.saved_tensors
    partition = partition.detach()
    walk: Walk = ctx.walk
    policy, s, k = walk.policy, walk.scale, walk.policy.centres_per_identity
    # What a whole row of cells has in common is multiplied in where a row is one number, not a thousand.
    weight = (g_partition * (s if policy.uses_cosine else 1.0)).unsqueeze(1)
    scaled = (x * s if policy.uses_cosine else x).to(walk.products)
    weighted = (x * weight).to(walk.products)
    d_x, d_centres = torch.zeros_like(x), torch.empty_like(centres)
    d_bias = None if bias is None else torch.empty_like(bias)
    d_scale = torch.zeros_like(scale) if ctx.needs_input_grad[3] else None
    for block in blocks(len(centres) // k, walk):
        part, shrink = centres[block.rows], _at(walk.inverse, block.rows)
        if logits is not None:
            z, pick = logits[:, block.columns], None
        else:
            z, pick = block_logits(scaled, part, shrink, _at(bias, block.columns), walk)
        z, above = filtered(z, walk)
        slope = None
        if walk.changes:
            z, slope = changed(z / s, walk)
            z *= s
        a = walk.parts.pull(z, partition, logits is not None or d_scale is not None)
        a[block.own] = 0.0
        if d_scale is not None:
            d_scale += (a * z).sum(dim=1) @ g_partition / s
        if slope is not None:
            a *= slope
        if above is not None:
            a.masked_fill_(above, 0.0)
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
        _pull_cells(own, g_target, x, centres, walk.inverse, d_x, d_centres)
        if d_bias is not None:
            d_bias.index_add_(0, own, g_target)
        if "hardest_negative" in policy.statistics:
            _pull_cells(hardest, g_hardest * hardest_weight, x, centres, walk.inverse, d_x, d_centres)
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
