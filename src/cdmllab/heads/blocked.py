"""The fast head: the loss and gradients of the dense one, a block of class centres at a time.

For sample i with target logit z_y the loss is ``log(exp(z_y) + Z_i) - z_y``, where Z_i sums the exponentials of
all *other* logits. Only Z needs the b x c matrix, and `cdmllab.heads.walk` goes over it in blocks. All else,
the margin included, is a handful of tensors of shape (b,) and stays with autograd: a loss is written once for
both heads.
"""

from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from cdmllab.geometry import unit
from cdmllab.heads.base import Losses, MarginHead
from cdmllab.heads.elementwise import PLAIN
from cdmllab.heads.elementwise import compiled as compiled_parts
from cdmllab.heads.walk import Negatives, Walk, negatives
from cdmllab.margins import Batch, MarginPolicy

CELLS = {"cpu": 2**18, "cuda": 2**25}  # of a block of logits: what stays in a cache, what fills a GPU


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

    def losses(self, embeddings: Tensor, labels: Tensor, known_easiness: Tensor | None = None) -> Losses:
        """Loss of each sample; embeddings of shape (n, d), labels of shape (n,)."""
        policy = self.policy
        x = unit(embeddings) if policy.uses_cosine else embeddings
        directions = x.detach() if policy.uses_cosine else unit(embeddings.detach())
        (target_cos, own), lengths = self._own(directions, labels), embeddings.norm(dim=1)
        batch = Batch(labels, target_cos, lengths, self._number("progress", self.progress), directions, known_easiness)
        if self.training and policy.changes_negatives:
            policy.observe(batch)
        if "negative_partition" in policy.statistics:
            with torch.no_grad():
                found, _ = self._walk(x, policy.current_scale(self.scale), batch, own, keep=False)
            batch = replace(batch, negative_partition=found.partition)
            if self.training:
                policy.observe(batch)

        scale = policy.current_scale(self.scale).to(x.dtype)
        found, logits = self._walk(x, scale, batch, own, keep=self.keep_logits)
        if "hardest_negative" in policy.statistics:
            batch = replace(batch, hardest_negative=found.hardest)
        if "hard_negative_mean" in policy.statistics:
            batch = replace(batch, hard_negative_mean=found.hard_mean)
        if policy.uses_cosine:
            batch = replace(batch, target_cos=found.target)
        if self.training and not policy.changes_negatives and "negative_partition" not in policy.statistics:
            policy.observe(batch)

        margined = scale * policy.margined(found.target, batch) if policy.uses_cosine else found.target
        # log(e^own + e^partition) - own; the threshold is where e^-x no longer counts, in float64 either.
        return Losses(F.softplus(found.partition - margined, threshold=40.0), batch, logits)

    def _walk(self, x: Tensor, scale: Tensor, batch: Batch, own: Tensor, keep: bool) -> tuple[Negatives, Tensor | None]:
        """What the negatives add up to and, with `keep`, the plain logits [n, c]."""
        centres = self.centres.to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        target = batch.target_cos if bias is None else own_logit(x, centres, bias, own)
        logits = x.new_empty(len(x), self.num_identities) if keep else None
        return negatives(x, centres, bias, scale.to(x.dtype), self._way(target, batch, own, logits)), logits

    def _way(self, target: Tensor, batch: Batch, own: Tensor, logits: Tensor | None) -> Walk:
        device, dtype = target.device.type, target.dtype
        block = self.block or max(CELLS.get(device, CELLS["cpu"]) // max(len(target), 1), 1)
        products = dtype if self.products == "float32" else torch.bfloat16
        wanted = device == "cuda" if self.compiled is None else self.compiled
        parts = compiled_parts(device) if wanted else PLAIN
        scale = self._number("scale", self.policy.current_scale(self.scale))
        policy = self.policy.as_now() if self.policy.changes_negatives else self.policy
        return Walk(policy, batch, target, own, self.holds_all, scale, block, products, logits, parts)

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
