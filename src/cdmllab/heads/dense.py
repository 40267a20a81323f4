"""The readable head: plain autograd over the whole matrix of cosines."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cdmllab.geometry import cosine
from cdmllab.heads.base import IGNORE, HeadOutput, MarginHead
from cdmllab.margins import Batch


class DenseHead(MarginHead):
    """Softmax cross entropy over s x cosine with a margin on the target: the book's reference."""

    backend = "dense"

    def forward(self, embeddings: Tensor, labels: Tensor) -> HeadOutput:
        """Loss of a batch.

        Parameters
        ----------
        embeddings : Tensor of shape (b, d), any float dtype; worked on in float32 (float64 stays)
        labels : integer Tensor of shape (b,) or (b, 1); -1 ignores a sample

        Raises
        ------
        ValueError : naming the sample and what was expected
        """
        embeddings, labels = self.check(embeddings, labels)
        kept = labels != IGNORE
        x, y = embeddings[kept], labels[kept]

        centres = self.centres.to(x.dtype)
        cosines = cosine(x, centres)  # [b, c]
        own = y.unsqueeze(1)  # [b, 1]
        target_cos = cosines.gather(1, own).squeeze(1)  # [b]
        hardest = None
        if self.policy.needs_hardest_negative:
            hardest = cosines.scatter(1, own, -torch.inf).amax(dim=1)
        batch = Batch(y, target_cos, x.norm(dim=1), hardest, float(self.progress))
        if self.training:
            self.policy.observe(batch)

        if self.bias is not None:  # plain softmax
            plain = margined = x @ centres.T + self.bias.to(x.dtype)
        else:
            target = self.policy.margined(target_cos, batch)
            plain = self.scale * cosines
            margined = self.scale * self.policy.negatives(cosines, batch).scatter(1, own, target.unsqueeze(1))
        sample_loss = F.cross_entropy(margined, y, reduction="none")

        def per_sample(values: Tensor) -> Tensor:
            full = values.new_full((len(labels),), torch.nan)
            full[kept] = values.detach()
            return full

        easiness = self.policy.easiness(batch)
        logits = None
        if self.keep_logits:
            logits = cosines.new_full((len(labels), self.num_identities), torch.nan)
            logits[kept] = plain.detach()
        return HeadOutput(
            loss=sample_loss.sum() / max(len(y), 1),
            sample_loss=per_sample(sample_loss),
            target_cos=per_sample(target_cos),
            margin_rad=per_sample(self.policy.margin_rad(batch)),
            easiness=None if easiness is None else per_sample(easiness),
            logits=logits,
        )
