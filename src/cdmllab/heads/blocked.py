"""The fast head: the loss and gradients of the dense one, a block of class centres at a time.

For sample i with target logit z_y the loss is ``log(exp(z_y) + Z_i) - z_y``, where Z_i sums the exponentials of
all *other* logits. Only Z needs the b x c matrix, and `cdmllab.heads._blockwise_softmax` goes over it in blocks.
All else, the margin included, is a handful of tensors of shape (b,) and stays with autograd: a loss is written once
for both heads.
"""

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cdmllab.geometry import unit
from cdmllab.heads._blockwise_softmax import Walk
from cdmllab.heads._kernels import PLAIN
from cdmllab.heads._kernels import compiled as compiled_parts
from cdmllab.heads.base import MarginHead
from cdmllab.heads.checks import Centres
from cdmllab.heads.negatives import Negatives, negatives
from cdmllab.heads.output import Seen, Started
from cdmllab.margins import Batch, MarginPolicy

CELLS = {"cpu": 2**18, "cuda": 2**25}  # of a block of logits: what stays in a cache, what fills a GPU


class Work(NamedTuple):
    """What the blocked head goes on with."""

    x: Tensor  # [n, d] unit embeddings; for plain softmax as they are
    own: Tensor  # [n] row of the positive centre, -1 where it is not here
    centres: Centres


class BlockedHead(MarginHead):
    """Never holds more than one block of logits, or one b x c buffer with ``keep_logits=True``.

    Parameters
    ----------
    block : identities a block; None chooses by batch and device
    products : dtype of the matrix products, ``"float32"`` or ``"bfloat16"``; sums and all else stay wide
    compiled : run the elementwise parts through torch.compile; None does on CUDA, where it pays soonest
    others : as for `MarginHead`
    """

    backend = "blocked"
    holds_all = True  # every sample's own class centre is here

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

    def _start(self, embeddings: Tensor, labels: Tensor, known_easiness: Tensor | None, centres: Centres) -> Started:
        x = unit(embeddings) if self.policy.uses_cosine else embeddings
        directions = x.detach() if self.policy.uses_cosine else unit(embeddings.detach())
        target_cos, own = self._own(directions, labels)
        progress, lengths = self._number("progress", self.progress), embeddings.norm(dim=1)
        batch = Batch(labels, target_cos, lengths, progress, directions, known_easiness)
        return Started(batch, Work(x, own, centres))

    def _look(self, started: Started, keep: bool) -> Seen:
        policy, batch = self.policy, started.batch
        found, logits = self._walk(started, keep, policy.changes_negatives)
        if policy.uses_cosine:
            batch = replace(batch, target_cos=found.target)
        if "hardest_negative" in policy.statistics:
            batch = replace(batch, hardest_negative=found.hardest)
        if "hard_negative_mean" in policy.statistics:
            batch = replace(batch, hard_negative_mean=found.hard_mean)
        if "negative_partition" in policy.statistics:
            plain = found
            if policy.changes_negatives:  # what was summed up are the changed ones
                with torch.no_grad():
                    plain, _ = self._walk(started, keep=False, changes=False)
            batch = replace(batch, negative_partition=plain.partition.detach())
        return Seen(batch, found, logits)

    def _sample_losses(self, started: Started, seen: Seen) -> Tensor:
        found: Negatives = seen.found
        margined = found.target
        if self.policy.uses_cosine:
            scale = self.policy.current_scale(self.scale).to(margined.dtype)
            margined = scale * self.policy.margined(margined, seen.batch)
        # log(e^own + e^partition) - own; the threshold is where e^-x no longer counts, in float64 either.
        return F.softplus(found.partition - margined, threshold=40.0)

    def _walk(self, started: Started, keep: bool, changes: bool) -> tuple[Negatives, Tensor | None]:
        """What the negatives add up to, changed or not, and, with `keep`, the plain logits [n, c]."""
        batch, (x, own, centres) = started
        target = batch.target_cos if centres.bias is None else own_logit(x, centres.rows, centres.bias, own)
        logits = x.new_empty(len(x), self.num_identities) if keep else None
        scale = self.policy.current_scale(self.scale).to(x.dtype)
        walk = self._way(target, batch, own, centres, logits, changes)
        return negatives(x, centres.rows, centres.bias, scale, walk), logits

    def _way(
        self, target: Tensor, batch: Batch, own: Tensor, centres: Centres, logits: Tensor | None, changes: bool
    ) -> Walk:
        device, dtype, lengths = target.device.type, target.dtype, centres.lengths
        wanted = device == "cuda" if self.compiled is None else self.compiled
        return Walk(
            policy=self.policy.as_now() if changes else self.policy,
            changes=changes,
            rows=batch,
            target=target,
            own=own,
            holds_all=self.holds_all,
            inverse=None if lengths is None else torch.where(lengths > 0.0, lengths.reciprocal(), 0.0),
            scale=self._number("scale", self.policy.current_scale(self.scale)),
            threshold=self.interclass_filtering_threshold,
            block=self.block or max(CELLS.get(device, CELLS["cpu"]) // max(len(target), 1), 1),
            products=dtype if self.products == "float32" else torch.bfloat16,
            logits=logits,
            parts=compiled_parts(device) if wanted else PLAIN,
        )

    @torch.no_grad()
    def _own(self, directions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine to the own class centre, the nearest of K, and its row; apart from the blocks and always wide."""
        k = self.policy.centres_per_identity
        own = self.centres.to(directions.dtype).unflatten(0, (-1, k))[labels]  # [n, K, d]
        nearest = torch.linalg.vecdot(directions.unsqueeze(1), unit(own)).max(dim=1)
        return nearest.values, labels * k + nearest.indices


@torch.no_grad()
def own_logit(x: Tensor, centres: Tensor, bias: Tensor, own: Tensor) -> Tensor:
    """Plain softmax's logit of the own class: x of shape (n, d), own centres' rows (n,) to (n,)."""
    logit: Tensor = torch.linalg.vecdot(x, centres[own]) + bias[own]
    return logit
