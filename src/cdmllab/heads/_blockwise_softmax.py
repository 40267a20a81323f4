"""The softmax over negative centres, computed block by block, and its gradients.

Notation: x_i is the unit embedding of sample i and y_i its identity, w_j is the unit class centre
of identity j, and s is the scale. The *positive* (or target) centre of sample i is w_{y_i}. Its
*negatives* are all the other centres, j != y_i, with the logits

    z_ij = s h(cos theta_ij) + o_j,    cos theta_ij = x_i . w_j,

where h, with the derivative h', is the loss's change of the negatives, for most losses the
identity, and o_j the loss's `class_offset`, for most losses 0. With K centres per identity, w_j is
the one that is nearest to x_i.

Loss. The negatives of a sample enter its loss through one number only,

    logsumexp   N_i = log sum_{j != y_i} exp(z_ij)      a_ij = dN_i / dz_ij = exp(z_ij - N_i)
    sum         N_i = sum_{j != y_i} f(z_ij)            a_ij = dN_i / dz_ij = f'(z_ij)

with f the policy's `negative_loss`. For a softmax loss, with the logit of the positive centre after
the margin, t_i = s cos(theta_i + m), the rest is

    L_i = -log(exp(t_i) / (exp(t_i) + exp(N_i))) = log(1 + exp(N_i - t_i)).

Gradients. Autograd differentiates L_i with respect to t_i and N_i; this module continues from
g_i = dL / dN_i to the embeddings, the centres and the scale:

    dL / dx_i = s sum_{j != y_i} g_i a_ij h'_ij w_j
    dL / dw_j = s sum_{i: y_i != j} g_i a_ij h'_ij x_i
    dL / ds   = sum_i sum_{j != y_i} g_i a_ij (z_ij - o_j) / s

A centre is stored unnormalised, c_j = |c_j| w_j, so its gradient is the component of dL / dw_j
that is orthogonal to w_j, divided by |c_j|. Two cosines per sample have a gradient of their own,
which is added separately: that of the positive centre, because of the margin, and that of the
hardest negative, if the loss depends on it.

Memory. The forward pass keeps running sums only: of exp(z - m), with m the running maximum (the
streaming softmax of Milakov and Gimelshein, https://arxiv.org/abs/1805.02867), or of exp(z) where
the scale is too small for it to overflow. The backward pass computes each block of z again, or
reads it from a buffer of logits if the caller asked for one.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cdmllab.heads._blocks import Block, BlockPlan, block_logits, blocks, filtered

# Up to this scale exp(logit) and its sum over 10^8 identities stay within the range of float32:
# e^70 x 10^8 is about 2.5e38, below the largest number, 3.4e38.
SAFE_SCALE = 70.0


class Negatives(NamedTuple):
    """The negatives of each sample, reduced to a few numbers."""

    reduced: Tensor  # [b] N_i
    target: Tensor  # [b] as in `BlockPlan`, with a gradient
    hardest: Tensor  # [b] largest cosine, if the policy uses it
    hard_sum: Tensor  # [b] sum of the hard negatives' cosines, if the policy uses it; no gradient
    hard_count: Tensor  # [b] number of hard negatives

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
    x : unit embeddings, shape (b, d); unnormalised for plain softmax
    centres : shape (c K, d), with lengths whose squares neither overflow nor underflow
    bias : shape (c,), for plain softmax only
    scale : scalar
    learnt : the policy's own parameters, which receive a gradient if they change the negatives
    plan : see `BlockPlan`
    """
    return Negatives(*_Negatives.apply(x, centres, bias, scale, plan, *learnt))


class _Hardest:
    """The hardest negative of each sample so far: its logit and the row of its centre."""

    def __init__(self, x: Tensor, plan: BlockPlan) -> None:
        self.value = x.new_full((len(x),), -torch.inf)  # [b] its logit
        self.row = torch.zeros_like(plan.positive)  # [b] row of its centre
        self.weight = x.new_ones(len(x))  # [b] factor on its gradient: 0 if it was filtered
        self.k = plan.policy.centres_per_identity

    def update(self, z: Tensor, pick: Tensor | None, above: Tensor | None, block: Block) -> None:
        """Update with a block of logits (b, n), `pick` naming the nearest of K centres."""
        best = z.max(dim=1)  # values and indices, [b]
        at = best.indices.unsqueeze(1)
        row = (best.indices + block.columns.start) * self.k
        if pick is not None:
            row += pick.gather(1, at).squeeze(1)
        better = best.values > self.value
        self.row = torch.where(better, row, self.row)
        # A filtered negative has the constant cosine 0, so no gradient reaches its centre.
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
        # Without a change of the negatives |z| <= s, so a small scale needs no running maximum.
        small = policy.uses_cosine and not plan.changes and plan.offset is None
        safe = plan.sums or (small and s <= SAFE_SCALE)
        largest = None if safe else x.new_full((len(x),), -torch.inf)
        # The running sums of one pass over the blocks, one value per sample.
        total, hard_sum, hard_count = (x.new_zeros(len(x)) for _ in range(3))
        hardest = _Hardest(x, plan)
        scaled = (x * s if policy.uses_cosine else x).to(plan.products)
        for block in blocks(len(centres) // k, plan):
            inverse, offset = _at(plan.inverse, block.rows), _at(bias, block.columns)
            z, pick = block_logits(scaled, centres[block.rows], inverse, offset, plan)
            # The caller wants the logits before the filter, the mask and the loss's change.
            if plan.logits is not None:
                plan.logits[:, block.columns] = z
            z, above = filtered(z, plan)
            z[block.positive] = -torch.inf  # exp(-inf) = 0: the positive is not a negative
            # The statistics see the filtered cosines, before the loss changes them.
            if "hardest_negative" in policy.statistics:
                hardest.update(z, pick, above, block)
            if "hard_negative_mean" in policy.statistics:
                cosines = z / s
                # `hard` may be any test: the positive, at -inf, must not be counted.
                hard = policy.hard(cosines, plan.batch) & cosines.isfinite()
                hard_sum += torch.where(hard, cosines, 0.0).sum(dim=1)
                hard_count += hard.sum(dim=1)
            if plan.changes:
                z = policy.negatives(z / s, plan.batch) * s
                # The change may turn -inf into a number: mask the positive again.
                z[block.positive] = -torch.inf
            if plan.offset is not None:
                z = z + plan.offset[block.columns]
            if plan.sums:
                losses = policy.negative_loss(z)
                # f(-inf) need not be 0, so the positive's own loss is removed explicitly.
                losses[block.positive] = 0.0
                total += losses.sum(dim=1)
            elif largest is None:
                total += plan.kernels.add_up(z)
            else:
                largest, total = plan.kernels.accumulate(z, largest, total)
        reduced = total
        if not plan.sums:
            reduced = total.log() if largest is None else total.log() + largest
        # The caller receives this buffer as well. Saving it through autograd means that a caller
        # who changes it in place gets an error, not a wrong gradient.
        buffer = plan.logits if k == 1 else None  # it lacks which of K centres is nearest
        ctx.save_for_backward(
            x, centres, bias, scale, reduced, hardest.row, hardest.weight, buffer, *learnt
        )
        # The buffer, if it is needed, is among the saved tensors.
        ctx.plan = replace(plan, logits=None)
        ctx.mark_non_differentiable(hard_sum, hard_count)
        # The copy of the target receives this function's gradient; `plan.target` stays detached.
        return reduced, plan.target.clone(), hardest.value / s, hard_sum, hard_count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # A backward pass may be called under autocast.
        with torch.autocast(grads[0].device.type, enabled=False):
            return _backward(ctx, *grads[:3])  # the other outputs have no gradient


def _backward(
    ctx: Any, g: Tensor, g_target: Tensor, g_hardest: Tensor
) -> tuple[Tensor | None, ...]:
    x, centres, bias, scale, reduced, hardest, hardest_weight, logits, *learnt = ctx.saved_tensors
    plan: BlockPlan = ctx.plan
    policy, s, k = plan.policy, plan.scale, plan.policy.centres_per_identity
    # g_i s is common to a whole row of cells: multiplying the embedding by it, here and after the
    # loop, saves one multiplication per cell of the b x c matrix.
    weight = (g * (s if policy.uses_cosine else 1.0)).unsqueeze(1)
    scaled = (x * s if policy.uses_cosine else x).to(plan.products)
    weighted = (x * weight).to(plan.products)
    d_x, d_centres = torch.zeros_like(x), torch.empty_like(centres)  # [b, d] and [c K, d]
    d_bias = None if bias is None else torch.empty_like(bias)
    d_scale = torch.zeros_like(scale) if ctx.needs_input_grad[3] else None
    d_learnt = [torch.zeros_like(p) for p in learnt]
    cells = _CellGradients(plan, reduced.detach(), g, d_scale, d_learnt)
    for block in blocks(len(centres) // k, plan):
        part, inverse = centres[block.rows], _at(plan.inverse, block.rows)
        # Read the block's logits from the caller's buffer, or compute them again.
        if logits is not None:
            z, pick = logits[:, block.columns], None
        else:
            z, pick = block_logits(scaled, part, inverse, _at(bias, block.columns), plan)
        a = cells.of(z, block, shared=logits is not None)  # [b, n]
        if pick is not None:  # only the nearest of the K centres receives the gradient
            a = a.new_zeros(*a.shape, k).scatter_(2, pick.unsqueeze(2), a.unsqueeze(2)).flatten(1)
        # The derivative of a logit with respect to its bias is 1.
        if d_bias is not None:
            torch.mv(a.T, g, out=d_bias[block.columns])
        _multiply_block(a, part, inverse, weighted, d_x, d_centres[block.rows], plan)
    # Complete the sum over the negatives with the factor g_i s, then add the separate cosines.
    d_x *= weight
    if len(centres):  # a shard may be empty
        rows = plan.positive.clamp_min(0)  # any row will do for -1, where `g_target` is 0
        _add_cells(rows, g_target, x, centres, plan.inverse, d_x, d_centres)
        if d_bias is not None:
            d_bias.index_add_(0, rows, g_target)
        if "hardest_negative" in policy.statistics:
            g_hardest = g_hardest * hardest_weight
            _add_cells(hardest, g_hardest, x, centres, plan.inverse, d_x, d_centres)
    return d_x, d_centres, d_bias, d_scale, None, *d_learnt


class _CellGradients:
    """The factor a_ij h'_ij of each cell; accumulates the gradients of scale and policy."""

    def __init__(
        self,
        plan: BlockPlan,
        reduced: Tensor,
        g: Tensor,
        d_scale: Tensor | None,
        d_learnt: list[Tensor],
    ) -> None:
        self.plan, self.reduced, self.g, self.d_scale = plan, reduced, g, d_scale
        # The policy's hooks are differentiated with respect to these parameters themselves;
        # the tensors passed to `negatives` as `learnt` may be views of them.
        self.learnt, self.d_learnt = list(plan.policy.parameters()), d_learnt

    def of(self, z: Tensor, block: Block, shared: bool) -> Tensor:
        """a_ij h'_ij for unchanged logits (b, n), which are overwritten unless `shared`."""
        plan = self.plan
        z, above = filtered(z, plan)
        changed = slope = None
        # h' of each cell, from the policy's own code. The change is elementwise, so the gradient of
        # the sum is one derivative per cell.
        if plan.changes:
            with torch.enable_grad():
                cosines = (z / plan.scale).detach().requires_grad_()
                changed = plan.policy.negatives(cosines, plan.batch)
                (slope,) = torch.autograd.grad(
                    changed.sum(), cosines, retain_graph=bool(self.learnt)
                )
            z = changed.detach() * plan.scale
        scaled = z  # s h, without the offset, for dL / ds
        if plan.offset is not None:
            z = z + plan.offset[block.columns]
        if plan.sums:
            a = self._of_losses(z, block)
        else:
            # Keep z if it may be the caller's buffer, or is needed for the scale's gradient below.
            a = plan.kernels.softmax(z, self.reduced, shared or self.d_scale is not None)
        # The positive is not a negative: its gradient is added by `_add_cells`.
        a[block.positive] = 0.0
        if self.d_scale is not None:
            self.d_scale += (a * scaled).sum(dim=1) @ self.g / plan.scale
        if slope is not None:
            # dL / dh of each cell: `changed` contains cosines, hence the factor s.
            self._learn(changed, a * (self.g * plan.scale).unsqueeze(1))
            a *= slope
        # A filtered cosine is the constant 0: nothing flows back to the one that it replaced.
        if above is not None:
            a.masked_fill_(above, 0.0)
        return a

    def _of_losses(self, z: Tensor, block: Block) -> Tensor:
        """f'(z) of logits (b, n)."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            losses = self.plan.policy.negative_loss(z)
            (slope,) = torch.autograd.grad(losses.sum(), z, retain_graph=bool(self.learnt))
        # dL / df is g_i for every negative of sample i, and 0 for its positive.
        upstream = self.g.unsqueeze(1).expand_as(losses).clone()
        upstream[block.positive] = 0.0
        self._learn(losses, upstream)
        return slope

    def _learn(self, values: Tensor | None, upstream: Tensor) -> None:
        """Backpropagate `upstream`, the gradient of `values`, to the policy's parameters."""
        if not self.learnt or values is None or not values.requires_grad:
            return
        grads = torch.autograd.grad(values, self.learnt, upstream, allow_unused=True)
        for total, part in zip(self.d_learnt, grads, strict=True):
            if part is not None:
                total += part


def _multiply_block(
    a: Tensor,
    part: Tensor,
    inverse: Tensor | None,
    weighted: Tensor,
    d_x: Tensor,
    d_part: Tensor,
    plan: BlockPlan,
) -> None:
    """The two matrix products of a block: add to `d_x`, unweighted, and fill `d_part`."""
    # With 1 / |c_j| in `a`, the products below are sum_j a_ij w_j and dL / dw_j divided by |c_j|.
    if inverse is not None:
        a *= inverse
    if plan.products == d_x.dtype:
        d_x.addmm_(a, part)
        torch.mm(a.T, weighted, out=d_part)
    else:
        # Products in bfloat16, added up in the dtype of the embeddings.
        a = a.to(plan.products)
        d_x += a @ part.to(plan.products)
        d_part.copy_(a.T @ weighted)
    if inverse is not None:  # remove the component along the centre: cosines ignore its length
        along = torch.linalg.vecdot(d_part, part) * inverse.square()
        d_part.addcmul_(part, along.unsqueeze(1), value=-1.0)


def _add_cells(
    rows: Tensor,
    g: Tensor,
    x: Tensor,
    centres: Tensor,
    inverse: Tensor | None,
    d_x: Tensor,
    d_centres: Tensor,
) -> None:
    """Add the gradient of one cosine (or inner product) per sample, to the centre in `rows`."""
    part, d_part = centres[rows], g.unsqueeze(1) * x
    if inverse is not None:
        shrink = inverse[rows].unsqueeze(1)  # 1 / |c|, [b, 1]
        part = part * shrink  # unit centres, [b, d]
        # As in `_multiply_block`: without the component along the centre, over its length.
        d_part = (d_part - part * torch.linalg.vecdot(d_part, part).unsqueeze(1)) * shrink
    d_x.addcmul_(g.unsqueeze(1), part)
    d_centres.index_add_(0, rows, d_part)  # samples of one identity share a row: add, not assign


def _at(values: Tensor | None, rows: slice) -> Tensor | None:
    return None if values is None else values[rows]
