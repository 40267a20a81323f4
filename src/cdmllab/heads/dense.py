"""The reference head: plain autograd over the full matrix of cosines.

For sample i with identity y_i, embedding x_i and class centres w_j, cos theta_ij is the cosine of
x_i and w_j. The *positive* (target) centre is w_{y_i}, the *negatives* are all other centres:

    t_i  = s cos(theta_{i,y_i} + m)               the target logit, after the loss's margin
    z_ij = s h(cos theta_ij),  j != y_i           the negatives, changed by h in some losses
    N_i  = log sum_{j != y_i} exp(z_ij)           (or a sum of losses, see `MarginPolicy.reduction`)
    L_i  = log(1 + exp(N_i - t_i))

The blocked and the sharded head compute the same loss and, with a gradient of their own, the same
derivatives; the tests compare them with this one.
"""

from dataclasses import replace

import torch

from cdmllab.geometry import cosine, unit
from cdmllab.heads.base import MarginHead
from cdmllab.heads.checks import Centres, Samples
from cdmllab.heads.output import Seen, Started
from cdmllab.margins import Batch


class DenseHead(MarginHead):
    """The loss over the full matrix of s x cosine, with a margin on the target.

    This is the reference that the book explains.
    """

    backend = "dense"

    def _start(self, samples: Samples, centres: Centres) -> Started:
        x, labels, k = samples.embeddings, samples.labels, self.policy.centres_per_identity
        cosines = cosine(x, centres.rows)  # [n, c K]
        cosines = cosines.unflatten(1, (self.num_identities, k)).amax(dim=2)  # [n, c]
        target_cos = cosines.gather(1, labels.unsqueeze(1)).squeeze(1)  # [n]
        progress = self._number("progress", self.progress)
        batch = Batch(
            labels, target_cos, x.norm(dim=1), progress, unit(x.detach()), samples.known_easiness
        )
        linear = None if centres.bias is None else x @ centres.rows.T + centres.bias  # [n, c]
        return Started(batch, (cosines, linear))

    def _look(self, started: Started, keep: bool) -> Seen:
        batch, (cosines, linear) = started
        policy, positive = self.policy, batch.labels.unsqueeze(1)
        if linear is not None:  # plain softmax
            target = linear.gather(1, positive).squeeze(1)
            negatives = linear.scatter(1, positive, -torch.inf).logsumexp(dim=1)
            return Seen(batch, target, negatives, linear.detach() if keep else None)
        scale = policy.current_scale(self.scale).to(cosines.dtype)
        # The logits that a caller sees are those before the filter and the margin.
        logits = (scale * cosines).detach() if keep else None
        if self.interclass_filtering_threshold:
            cosines = cosines.masked_fill(cosines > self.interclass_filtering_threshold, 0.0)
        # exp(-inf) = 0 removes the positive from sums, and -inf is never a maximum.
        others = cosines.scatter(1, positive, -torch.inf)
        for name in policy.statistics:
            if name == "hardest_negative":
                batch = replace(batch, hardest_negative=others.amax(dim=1))
            elif name == "hard_negative_mean":
                hard = policy.hard(others, started.batch) & others.isfinite()
                total = torch.where(hard, others, 0.0).sum(dim=1).detach()
                batch = replace(batch, hard_negative_mean=total / hard.sum(dim=1).clamp_min(1))
            else:
                # negative_partition, the only other statistic
                scaled = scale.detach() * others.detach()
                batch = replace(batch, negative_partition=scaled.logsumexp(dim=1))
        # The column of the positive is changed as well, and masked below.
        changed = scale * policy.negatives(cosines, batch)
        offset = policy.class_offset()
        if offset is not None:
            changed = changed + offset.to(changed.dtype)
        if policy.reduction == "sum":
            negatives = policy.negative_loss(changed).scatter(1, positive, 0.0).sum(dim=1)
        else:
            negatives = changed.scatter(1, positive, -torch.inf).logsumexp(dim=1)
        return Seen(batch, batch.target_cos, negatives, logits)
