"""The readable head: plain autograd over the whole matrix of cosines."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from cdmllab.geometry import cosine, unit
from cdmllab.heads.base import Losses, MarginHead
from cdmllab.margins import Batch


class DenseHead(MarginHead):
    """Softmax cross entropy over s x cosine with a margin on the target: the book's reference."""

    backend = "dense"

    def losses(self, embeddings: Tensor, labels: Tensor, known_easiness: Tensor | None = None) -> Losses:
        """Loss of each sample; embeddings of shape (n, d), labels of shape (n,)."""
        x, own, policy = embeddings, labels.unsqueeze(1), self.policy
        centres = self.centres.to(x.dtype)

        cosines = cosine(x, centres)  # [n, c K]
        cosines = cosines.unflatten(1, (self.num_identities, policy.centres_per_identity)).amax(dim=2)
        target_cos = cosines.gather(1, own).squeeze(1)  # [n]
        progress = self._number("progress", self.progress)
        batch = Batch(labels, target_cos, x.norm(dim=1), progress, unit(x.detach()), known_easiness)

        if self.training and policy.changes_negatives:
            policy.observe(batch)
        batch = self._with_statistics(batch, cosines)
        if self.training and not policy.changes_negatives:
            policy.observe(batch)

        if self.bias is not None:  # plain softmax
            plain = margined = x @ centres.T + self.bias.to(x.dtype)
        else:
            scale = policy.current_scale(self.scale).to(x.dtype)
            target = policy.margined(target_cos, batch)
            plain = scale * cosines
            margined = scale * policy.negatives(cosines, batch).scatter(1, own, target.unsqueeze(1))
        sample_loss = F.cross_entropy(margined, labels, reduction="none")
        return Losses(sample_loss, batch, plain.detach() if self.keep_logits else None)

    def _with_statistics(self, batch: Batch, cosines: Tensor) -> Batch:
        """Add what the policy wants to know about the negatives."""
        others = cosines.scatter(1, batch.labels.unsqueeze(1), -torch.inf)
        for name in self.policy.statistics:
            if name == "hardest_negative":
                batch = replace(batch, hardest_negative=others.amax(dim=1))
            elif name == "hard_negative_mean":
                hard = self.policy.hard(others, batch) & others.isfinite()
                total = torch.where(hard, others, 0.0).sum(dim=1).detach()
                batch = replace(batch, hard_negative_mean=total / hard.sum(dim=1).clamp_min(1))
            else:
                scaled = self.policy.current_scale(self.scale).detach() * others.detach()
                batch = replace(batch, negative_partition=scaled.logsumexp(dim=1))
        return batch
