"""The fast head: loss and gradients of the dense head, one block of class centres at a time.

For sample i with target logit t_i, after the margin, a softmax loss is

    L_i = log(exp(t_i) + exp(N_i)) - t_i,    N_i = log sum_{j != y_i} exp(z_ij),

where z_ij are the logits of its negatives, the centres of all other identities. Only N_i involves
the b x c matrix of logits, and `cdmllab.heads._blockwise_softmax` computes it in blocks, with its
gradients. Everything else, the margin included, is a handful of tensors of shape (b,) and is left
to autograd, so that a loss is written once for all heads.
"""

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from cdmllab.geometry import unit
from cdmllab.heads._blocks import BlockPlan
from cdmllab.heads._blockwise_softmax import Negatives, negatives
from cdmllab.heads._kernels import PLAIN
from cdmllab.heads._kernels import compiled as compiled_kernels
from cdmllab.heads.base import MarginHead
from cdmllab.heads.checks import Centres, Samples
from cdmllab.heads.output import Seen, Started
from cdmllab.margins import Batch, MarginPolicy

# Logits in a block: 1 MiB of float32 stays in a CPU's cache, 128 MiB keeps a GPU busy.
CELLS = {"cpu": 2**18, "cuda": 2**25}


class Work(NamedTuple):
    """The state that the blocked head keeps between `_start` and `_look`."""

    x: Tensor  # [n, d] unit embeddings; unnormalised for plain softmax
    positive: Tensor  # [n] row of the positive centre, -1 if another rank has it
    centres: Centres


class BlockedHead(MarginHead):
    """A head with one block of logits in memory at a time.

    With ``keep_logits=True`` it also has one b x c buffer.

    Parameters
    ----------
    block : identities per block; None chooses a size by batch and device
    products : dtype of the matrix products, ``"float32"`` or ``"bfloat16"``; sums and everything
        else stay in float32 (or float64)
    compiled : run the elementwise operations through torch.compile; None does so on CUDA only,
        where it pays off soonest
    others : as for `MarginHead`
    """

    backend = "blocked"
    holds_all = True  # this process has every sample's positive centre

    def __init__(
        self,
        policy: MarginPolicy,
        *,
        block: int | None = None,
        products: Literal["float32", "bfloat16"] = "float32",
        compiled: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init__(policy, **options)
        if block is not None and block < 1:
            raise ValueError(f"block must be at least 1, got {block}")
        if products not in ("float32", "bfloat16"):
            raise ValueError(f"products must be 'float32' or 'bfloat16', got {products!r}")
        self.block, self.products, self.compiled = block, products, compiled

    def _start(self, samples: Samples, centres: Centres) -> Started:
        embeddings, labels = samples.embeddings, samples.labels
        # Plain softmax multiplies raw embeddings, but policies and outputs still see cosines.
        x = unit(embeddings) if self.policy.uses_cosine else embeddings
        directions = x.detach() if self.policy.uses_cosine else unit(embeddings.detach())
        # Only the positive cosines are needed here; the negatives follow in `_look`.
        target_cos, positive = self._positive(directions, labels)
        progress, lengths = self._number("progress", self.progress), embeddings.norm(dim=1)
        known = samples.known_easiness
        batch = Batch(labels, target_cos, lengths, progress, directions, known)
        return Started(batch, Work(x, positive, centres))

    def _look(self, started: Started, keep: bool) -> Seen:
        policy, batch = self.policy, started.batch
        reduced, logits = self._reduce(started, keep)
        # The reduction's target has the gradient; that of plain softmax is a logit, not a cosine.
        if policy.uses_cosine:
            batch = replace(batch, target_cos=reduced.target)
        if "hardest_negative" in policy.statistics:
            batch = replace(batch, hardest_negative=reduced.hardest)
        if "hard_negative_mean" in policy.statistics:
            batch = replace(batch, hard_negative_mean=reduced.hard_mean)
        if "negative_partition" in policy.statistics:
            plain = reduced
            # The statistic is of the plain logits; a loss that changes or sums the negatives
            # reduces something else, so a second pass is needed.
            if policy.changes_negatives or policy.reduction != "logsumexp":
                with torch.no_grad():
                    plain, _ = self._reduce(started, plainly=True)
            batch = replace(batch, negative_partition=plain.reduced.detach())
        return Seen(batch, reduced.target, reduced.reduced, logits)

    def _reduce(
        self, started: Started, keep: bool = False, plainly: bool = False
    ) -> tuple[Negatives, Tensor | None]:
        """Reduce the negatives; `keep` also returns the plain logits, shape (n, c).

        The policy decides how the negatives are changed and reduced. `plainly` ignores it and takes
        the logsumexp of the plain logits.
        """
        batch, (x, positive, centres) = started
        target = batch.target_cos
        if centres.bias is not None:
            target = positive_logit(x, centres.rows, centres.bias, positive)
        # Filled by the reduction, block by block.
        logits = x.new_empty(len(x), self.num_identities) if keep else None
        scale = self.policy.current_scale(self.scale).to(x.dtype)
        plan = self._plan(target, batch, positive, centres, logits, plainly)
        learnt = tuple(self.policy.parameters())
        return negatives(x, centres.rows, centres.bias, scale, learnt, plan), logits

    def _plan(
        self,
        target: Tensor,
        batch: Batch,
        positive: Tensor,
        centres: Centres,
        logits: Tensor | None,
        plainly: bool,
    ) -> BlockPlan:
        device, dtype, lengths = target.device.type, target.dtype, centres.lengths
        changes = self.policy.changes_negatives and not plainly
        here, offset = self.identities_here, None if plainly else self.policy.class_offset()
        compiled = device == "cuda" if self.compiled is None else self.compiled
        return BlockPlan(
            # Later batches may update the buffers before the backward pass of this one.
            policy=self.policy.snapshot() if changes else self.policy,
            changes=changes,
            sums=self.policy.reduction == "sum" and not plainly,
            batch=batch,
            target=target,
            positive=positive,
            holds_all=self.holds_all,
            # A zero centre has no direction: all its cosines are 0.
            inverse=None
            if lengths is None
            else torch.where(lengths > 0.0, lengths.reciprocal(), 0.0),
            scale=self._number("scale", self.policy.current_scale(self.scale)),
            offset=None if offset is None else offset[here.start : here.stop].to(dtype),
            threshold=self.interclass_filtering_threshold,
            # About CELLS logits in a block, but at least one identity.
            block=self.block or max(CELLS.get(device, CELLS["cpu"]) // max(len(target), 1), 1),
            products=dtype if self.products == "float32" else torch.bfloat16,
            logits=logits,
            kernels=compiled_kernels(device) if compiled else PLAIN,
        )

    @torch.no_grad()
    def _positive(self, directions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine to the positive centre, the nearest of K, and its row; never in bfloat16."""
        k = self.policy.centres_per_identity
        targets = self.centres.to(directions.dtype).unflatten(0, (-1, k))[labels]  # [n, K, d]
        nearest = torch.linalg.vecdot(directions.unsqueeze(1), unit(targets)).max(dim=1)  # [n]
        return nearest.values, labels * k + nearest.indices


@torch.no_grad()
def positive_logit(x: Tensor, centres: Tensor, bias: Tensor, positive: Tensor) -> Tensor:
    """The positive logit of plain softmax; embeddings (n, d) and rows (n,) to (n,)."""
    logit: Tensor = torch.linalg.vecdot(x, centres[positive]) + bias[positive]
    return logit
