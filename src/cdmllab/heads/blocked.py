"""The fast head: the loss and gradients of the dense one, a block of class centres at a time.

For sample i with positive logit z_y a softmax loss is ``log(exp(z_y) + exp(N_i)) - z_y``, where N_i
is the logarithm of the sum of the exponentials of all *other* logits. Only N needs the b x c
matrix, and `cdmllab.heads._blockwise_softmax` goes over it in blocks. All else, the margin
included, is a handful of tensors of shape (b,) and stays with autograd: a loss is written once for
both heads.
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

CELLS = {
    "cpu": 2**18,
    "cuda": 2**25,
}  # of a block of logits: what stays in a cache, what fills a GPU


class Work(NamedTuple):
    """What the blocked head goes on with."""

    x: Tensor  # [n, d] unit embeddings; for plain softmax as they are
    positive: Tensor  # [n] row of the positive centre, -1 where it is not here
    centres: Centres


class BlockedHead(MarginHead):
    """Never holds more than one block of logits, or one b x c buffer with ``keep_logits=True``.

    Parameters
    ----------
    block : identities a block; None chooses by batch and device
    products : dtype of the matrix products, ``"float32"`` or ``"bfloat16"``; sums and all else stay
        wide
    compiled : run the elementwise parts through torch.compile; None does on CUDA, where it pays
        soonest
    others : as for `MarginHead`
    """

    backend = "blocked"
    holds_all = True  # every sample's positive centre is here

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
        x = unit(embeddings) if self.policy.uses_cosine else embeddings
        directions = x.detach() if self.policy.uses_cosine else unit(embeddings.detach())
        target_cos, positive = self._positive(directions, labels)
        progress, lengths = self._number("progress", self.progress), embeddings.norm(dim=1)
        known = samples.known_easiness
        batch = Batch(labels, target_cos, lengths, progress, directions, known)
        return Started(batch, Work(x, positive, centres))

    def _look(self, started: Started, keep: bool) -> Seen:
        policy, batch = self.policy, started.batch
        found, logits = self._reduce(started, keep)
        if policy.uses_cosine:
            batch = replace(batch, target_cos=found.target)
        if "hardest_negative" in policy.statistics:
            batch = replace(batch, hardest_negative=found.hardest)
        if "hard_negative_mean" in policy.statistics:
            batch = replace(batch, hard_negative_mean=found.hard_mean)
        if "negative_partition" in policy.statistics:
            plain = found
            if policy.changes_negatives or policy.reduction != "logsumexp":
                with torch.no_grad():
                    plain, _ = self._reduce(started, plainly=True)
            batch = replace(batch, negative_partition=plain.reduced.detach())
        return Seen(batch, found.target, found.reduced, logits)

    def _reduce(
        self, started: Started, keep: bool = False, plainly: bool = False
    ) -> tuple[Negatives, Tensor | None]:
        """The negatives, reduced as the policy wants it or `plainly`; with `keep`, the logits [n,
        c].
        """
        batch, (x, positive, centres) = started
        target = batch.target_cos
        if centres.bias is not None:
            target = positive_logit(x, centres.rows, centres.bias, positive)
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
        wanted = device == "cuda" if self.compiled is None else self.compiled
        return BlockPlan(
            policy=self.policy.as_now() if changes else self.policy,
            changes=changes,
            sums=self.policy.reduction == "sum" and not plainly,
            batch=batch,
            target=target,
            positive=positive,
            holds_all=self.holds_all,
            inverse=None
            if lengths is None
            else torch.where(lengths > 0.0, lengths.reciprocal(), 0.0),
            scale=self._number("scale", self.policy.current_scale(self.scale)),
            offset=None if offset is None else offset[here.start : here.stop].to(dtype),
            threshold=self.interclass_filtering_threshold,
            block=self.block or max(CELLS.get(device, CELLS["cpu"]) // max(len(target), 1), 1),
            products=dtype if self.products == "float32" else torch.bfloat16,
            logits=logits,
            kernels=compiled_kernels(device) if wanted else PLAIN,
        )

    @torch.no_grad()
    def _positive(self, directions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine to the positive centre, the nearest of K, and its row; always in wide products."""
        k = self.policy.centres_per_identity
        own = self.centres.to(directions.dtype).unflatten(0, (-1, k))[labels]  # [n, K, d]
        nearest = torch.linalg.vecdot(directions.unsqueeze(1), unit(own)).max(dim=1)
        return nearest.values, labels * k + nearest.indices


@torch.no_grad()
def positive_logit(x: Tensor, centres: Tensor, bias: Tensor, positive: Tensor) -> Tensor:
    """Plain softmax's logit of the positive centres: (n, d) and their rows (n,) to (n,)."""
    logit: Tensor = torch.linalg.vecdot(x, centres[positive]) + bias[positive]
    return logit
