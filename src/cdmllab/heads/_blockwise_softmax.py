"""What the negatives of each sample add up to, block by block, and its gradient.

Negatives of a sample are all identities but its own. With x_i the unit embedding of sample i, w_j
the unit class centre of identity j and s the scale, the logit of a negative is
z_ij = s g(x_i . w_j) + o_j, where g is the loss's change of negatives and o its `class_offset`
(mostly there is neither). Each sample's negatives are reduced to one number:

    logsumexp   N_i = log(sum_j exp(z_ij))      a_ij = dN_i / dz_ij = exp(z_ij - N_i)
    sum         N_i = sum_j f(z_ij)             a_ij = f'(z_ij)

with f the policy's `negative_loss`. The forward pass keeps running sums only: of exp(z - m) with m
the running maximum, the streaming softmax of Milakov and Gimelshein (arXiv 1805.02867), or of
exp(z) alone where the scale is so small that it cannot overflow. The backward pass computes each
block of z again (or reads it from a buffer of logits) and adds up, with g_i = dL / dN_i,

    dL / dx_i = sum_j g_i s a_ij g'_ij w_j      dL / dw_j = sum_i g_i s a_ij g'_ij x_i
    dL / ds   = sum_ij g_i a_ij (z_ij - o_j) / s

of which, for a centre c_j = |c_j| w_j, only the part at a right angle to it counts, over |c_j|.
Two kinds of single cells are treated apart: the positive centre's, which has a margin, and that of
the hardest negative, where a loss looks at it.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cdmllab.heads._blocks import Block, BlockPlan, block_logits, blocks, filtered

# Up to this scale exp(logit) and its sum over 10^8 identities stay within float32.
SAFE_SCALE = 70.0


class Negatives(NamedTuple):
    """What is found out about the negatives of each sample."""

    reduced: Tensor  # [b] N_i
    target: Tensor  # [b] as in `Plan`, with a gradient
    hardest: Tensor  # [b] largest cosine, if the policy wants it
    hard_sum: (
        Tensor  # [b] sum of the cosines of hard negatives, if the policy wants it; no gradient
    )
    hard_count: Tensor  # [b] and how many they are

    @property
    def hard_mean(self) -> Tensor:
        """Mean cosine over the hard negatives, 0 without any; shape (b,)."""
        return self.hard_sum / self.hard_count.clamp_min(1.0)


def negatives(
    x: Tensor,
    centres: Tensor,
    bias: Tensor | None,
    scale: Tensor,
    learnt: tuple[Tensor, ...],
    plan: BlockPlan,
) -> Negatives:
    """Reduce the negatives of each sample.

    Parameters
    ----------
    x : unit embeddings, shape (b, d); for plain softmax as they are
    centres : shape (c K, d), of lengths that can be squared
    bias : shape (c,), for plain softmax only
    scale : scalar
    learnt : the policy's parameters, to which a gradient goes if they change the negatives
    plan : see `Plan`
    """
    return Negatives(*_Negatives.apply(x, centres, bias, scale, plan, *learnt))


class _Hardest:
    """The largest negative cosine of each sample so far, and where it is."""

    def __init__(self, x: Tensor, plan: BlockPlan) -> None:
        self.value = x.new_full((len(x),), -torch.inf)  # [b] a logit
        self.row = torch.zeros_like(plan.positive)  # [b] of the centres
        self.weight = x.new_ones(len(x))  # [b] of its gradient: 0 where it is a filtered one
        self.k = plan.policy.centres_per_identity

    def update(self, z: Tensor, pick: Tensor | None, above: Tensor | None, block: Block) -> None:
        """Take in logits (b, n), which of the K centres they are of, and which are filtered."""
        best = z.max(dim=1)
        at = best.indices.unsqueeze(1)
        row = (best.indices + block.columns.start) * self.k
        if pick is not None:
            row += pick.gather(1, at).squeeze(1)
        better = best.values > self.value
        self.row = torch.where(better, row, self.row)
        if above is not None:
            weight = (~above.gather(1, at).squeeze(1)).to(z.dtype)
            self.weight = torch.where(better, weight, self.weight)
        self.value = torch.maximum(self.value, best.values)


class _Negatives(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        centres: Tensor,
        bias: Tensor | None,
        scale: Tensor,
        plan: BlockPlan,
        *learnt: Tensor,
    ) -> tuple[Tensor, ...]:
        policy, s, k = plan.policy, plan.scale, plan.policy.centres_per_identity
        small = policy.uses_cosine and not plan.changes and plan.offset is None
        safe = plan.sums or (small and s <= SAFE_SCALE)
        largest = None if safe else x.new_full((len(x),), -torch.inf)
        total, hard_sum, hard_count = (x.new_zeros(len(x)) for _ in range(3))
        hardest = _Hardest(x, plan)
        scaled = (x * s if policy.uses_cosine else x).to(plan.products)
        for block in blocks(len(centres) // k, plan):
            inverse, offset = _at(plan.inverse, block.rows), _at(bias, block.columns)
            z, pick = block_logits(scaled, centres[block.rows], inverse, offset, plan)
            if plan.logits is not None:
                plan.logits[:, block.columns] = z
            z, above = filtered(z, plan)
            z[block.positive] = -torch.inf
            if "hardest_negative" in policy.statistics:
                hardest.update(z, pick, above, block)
            if "hard_negative_mean" in policy.statistics:
                cosines = z / s
                hard = policy.hard(cosines, plan.batch) & cosines.isfinite()
                hard_sum += torch.where(hard, cosines, 0.0).sum(dim=1)
                hard_count += hard.sum(dim=1)
            if plan.changes:
                z = policy.negatives(z / s, plan.batch) * s
                z[block.positive] = -torch.inf
            if plan.offset is not None:
                z = z + plan.offset[block.columns]
            if plan.sums:
                losses = policy.negative_loss(z)
                losses[block.positive] = 0.0
                total += losses.sum(dim=1)
            elif largest is None:
                total += plan.kernels.add_up(z)
            else:
                largest, total = plan.kernels.accumulate(z, largest, total)
        reduced = total
        if not plan.sums:
            reduced = total.log() if largest is None else total.log() + largest
        # The buffer is the caller's too: saved so, it makes autograd complain where the caller has
        # changed it.
        buffer = plan.logits if k == 1 else None
        ctx.save_for_backward(
            x, centres, bias, scale, reduced, hardest.row, hardest.weight, buffer, *learnt
        )
        ctx.plan = replace(plan, logits=None)
        ctx.mark_non_differentiable(hard_sum, hard_count)
        return reduced, plan.target.clone(), hardest.value / s, hard_sum, hard_count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # A backward pass may be called under autocast.
        with torch.autocast(grads[0].device.type, enabled=False):
            return _backward(ctx, *grads[:3])


def _backward(
    ctx: Any, g: Tensor, g_target: Tensor, g_hardest: Tensor
) -> tuple[Tensor | None, ...]:
    x, centres, bias, scale, reduced, hardest, hardest_weight, logits, *learnt = ctx.saved_tensors
    plan: BlockPlan = ctx.plan
    policy, s, k = plan.policy, plan.scale, plan.policy.centres_per_identity
    # What a row of cells has in common is multiplied in where a row is one number, not a thousand.
    weight = (g * (s if policy.uses_cosine else 1.0)).unsqueeze(1)
    scaled = (x * s if policy.uses_cosine else x).to(plan.products)
    weighted = (x * weight).to(plan.products)
    d_x, d_centres = torch.zeros_like(x), torch.empty_like(centres)
    d_bias = None if bias is None else torch.empty_like(bias)
    d_scale = torch.zeros_like(scale) if ctx.needs_input_grad[3] else None
    d_learnt = [torch.zeros_like(p) for p in learnt]
    pulls = _Pulls(plan, reduced.detach(), g, d_scale, d_learnt)
    for block in blocks(len(centres) // k, plan):
        part, inverse = centres[block.rows], _at(plan.inverse, block.rows)
        if logits is not None:
            z, pick = logits[:, block.columns], None
        else:
            z, pick = block_logits(scaled, part, inverse, _at(bias, block.columns), plan)
        a = pulls.of(z, block, shared=logits is not None)
        if pick is not None:
            a = a.new_zeros(*a.shape, k).scatter_(2, pick.unsqueeze(2), a.unsqueeze(2)).flatten(1)
        if d_bias is not None:
            torch.mv(a.T, g, out=d_bias[block.columns])
        _pull_block(a, part, inverse, weighted, d_x, d_centres[block.rows], plan)
    d_x *= weight
    if len(centres):  # a shard may be empty
        rows = plan.positive.clamp_min(0)  # where it is -1, `g_target` is 0
        _pull_cells(rows, g_target, x, centres, plan.inverse, d_x, d_centres)
        if d_bias is not None:
            d_bias.index_add_(0, rows, g_target)
        if "hardest_negative" in policy.statistics:
            force = g_hardest * hardest_weight
            _pull_cells(hardest, force, x, centres, plan.inverse, d_x, d_centres)
    return d_x, d_centres, d_bias, d_scale, None, *d_learnt


class _Pulls:
    """How hard each cell of a block is pulled, a_ij g'_ij; adds up what scale and policy learn."""

    def __init__(
        self,
        plan: BlockPlan,
        reduced: Tensor,
        g: Tensor,
        d_scale: Tensor | None,
        d_learnt: list[Tensor],
    ) -> None:
        self.plan, self.reduced, self.g, self.d_scale = plan, reduced, g, d_scale
        # What autograd finds in the policy's own hooks; `learnt` may be views of them.
        self.learnt, self.d_learnt = list(plan.policy.parameters()), d_learnt

    def of(self, z: Tensor, block: Block, shared: bool) -> Tensor:
        """Of logits (b, n) before any change, which may be used up unless they are `shared`."""
        plan = self.plan
        z, above = filtered(z, plan)
        changed = slope = None
        if plan.changes:
            with torch.enable_grad():
                cosines = (z / plan.scale).detach().requires_grad_()
                changed = plan.policy.negatives(cosines, plan.batch)
                (slope,) = torch.autograd.grad(
                    changed.sum(), cosines, retain_graph=bool(self.learnt)
                )
            z = changed.detach() * plan.scale
        scaled = z
        if plan.offset is not None:
            z = z + plan.offset[block.columns]
        if plan.sums:
            a = self._of_losses(z, block)
        else:
            a = plan.kernels.pull(z, self.reduced, shared or self.d_scale is not None)
        a[block.positive] = 0.0
        if self.d_scale is not None:
            self.d_scale += (a * scaled).sum(dim=1) @ self.g / plan.scale
        if slope is not None:
            self._learn(changed, a * (self.g * plan.scale).unsqueeze(1))
            a *= slope
        if above is not None:
            a.masked_fill_(above, 0.0)
        return a

    def _of_losses(self, z: Tensor, block: Block) -> Tensor:
        """f'(z) of logits (b, n)."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            losses = self.plan.policy.negative_loss(z)
            (slope,) = torch.autograd.grad(losses.sum(), z, retain_graph=bool(self.learnt))
        force = self.g.unsqueeze(1).expand_as(losses).clone()
        force[block.positive] = 0.0
        self._learn(losses, force)
        return slope

    def _learn(self, values: Tensor | None, force: Tensor) -> None:
        """Add what flows back from some values, pulled by `force`, to the policy's parameters."""
        if not self.learnt or values is None or not values.requires_grad:
            return
        found = torch.autograd.grad(values, self.learnt, force, allow_unused=True)
        for total, part in zip(self.d_learnt, found, strict=True):
            if part is not None:
                total += part


def _pull_block(
    a: Tensor,
    part: Tensor,
    inverse: Tensor | None,
    weighted: Tensor,
    d_x: Tensor,
    d_part: Tensor,
    plan: BlockPlan,
) -> None:
    """The two products of a block: adds to `d_x` what is still to be weighted, and fills
    `d_part`.
    """
    if inverse is not None:
        a *= inverse
    if plan.products == d_x.dtype:
        d_x.addmm_(a, part)
        torch.mm(a.T, weighted, out=d_part)
    else:
        a = a.to(plan.products)
        d_x += a @ part.to(plan.products)
        d_part.copy_(a.T @ weighted)
    if inverse is not None:  # only what turns a centre counts, not what lengthens it
        along = torch.linalg.vecdot(d_part, part) * inverse.square()
        d_part.addcmul_(part, along.unsqueeze(1), value=-1.0)


def _pull_cells(
    rows: Tensor,
    pull: Tensor,
    x: Tensor,
    centres: Tensor,
    inverse: Tensor | None,
    d_x: Tensor,
    d_centres: Tensor,
) -> None:
    """Add the gradient of one cosine (or product) of each sample, with the centre in `rows`."""
    part, force = centres[rows], pull.unsqueeze(1) * x
    if inverse is not None:
        shrink = inverse[rows].unsqueeze(1)
        part = part * shrink
        force = (force - part * torch.linalg.vecdot(force, part).unsqueeze(1)) * shrink
    d_x.addcmul_(pull.unsqueeze(1), part)
    d_centres.index_add_(0, rows, force)


def _at(values: Tensor | None, rows: slice) -> Tensor | None:
    return None if values is None else values[rows]
