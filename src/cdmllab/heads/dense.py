"""The readable head: plain autograd over the whole matrix of cosines."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cdmllab.geometry import cosine, unit
from cdmllab.heads.base import MarginHead
from cdmllab.heads.checks import Centres
from cdmllab.heads.output import Seen, Started
from cdmllab.margins import Batch


class DenseHead(MarginHead):
    """Softmax cross entropy over s x cosine with a margin on the target: the book's reference."""

    backend = "dense"

    def _start(self, embeddings: Tensor, labels: Tensor, known_easiness: Tensor | None, centres: Centres) -> Started:
        x, k = embeddings, self.policy.centres_per_identity
        cosines = cosine(x, centres.rows)  # [n, c K]
        cosines = cosines.unflatten(1, (self.num_identities, k)).amax(dim=2)
        target_cos = cosines.gather(1, labels.unsqueeze(1)).squeeze(1)  # [n]
        progress = self._number("progress", self.progress)
        batch = Batch(labels, target_cos, x.norm(dim=1), progress, unit(x.detach()), known_easiness)
        linear = None if centres.bias is None else x @ centres.rows.T + centres.bias
        return Started(batch, (cosines, linear))

    def _look(self, started: Started, keep: bool) -> Seen:
        batch, (cosines, linear) = started
        scale = self.policy.current_scale(self.scale).to(cosines.dtype)
        logits = None
        if keep:
            logits = (scale * cosines if linear is None else linear).detach()
        if self.interclass_filtering_threshold:
            cosines = cosines.masked_fill(cosines > self.interclass_filtering_threshold, 0.0)
        others = cosines.scatter(1, batch.labels.unsqueeze(1), -torch.inf)
        for name in self.policy.statistics:
            if name == "hardest_negative":
                batch = replace(batch, hardest_negative=others.amax(dim=1))
            elif name == "hard_negative_mean":
                hard = self.policy.hard(others, started.batch) & others.isfinite()
                total = torch.where(hard, others, 0.0).sum(dim=1).detach()
                batch = replace(batch, hard_negative_mean=total / hard.sum(dim=1).clamp_min(1))
            else:
                scaled = scale.detach() * others.detach()
                batch = replace(batch, negative_partition=scaled.logsumexp(dim=1))
        return Seen(batch, cosines, logits)

    def _sample_losses(self, started: Started, seen: Seen) -> Tensor:
        batch, (_, linear) = seen.batch, started.work
        if linear is not None:  # plain softmax
            return F.cross_entropy(linear, batch.labels, reduction="none")
        scale = self.policy.current_scale(self.scale).to(batch.target_cos.dtype)
        target = self.policy.margined(batch.target_cos, batch).unsqueeze(1)
        negatives = self.policy.negatives(seen.found, batch)
        margined = scale * negatives.scatter(1, batch.labels.unsqueeze(1), target)
        return F.cross_entropy(margined, batch.labels, reduction="none")
