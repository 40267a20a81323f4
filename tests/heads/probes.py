"""Synthetic losses for every combination of what a policy may request from a head."""

from itertools import combinations, product

import torch
import torch.nn.functional as F
from tests.heads.variants import data
from torch import nn

from cdmllab.heads import BlockedHead, DenseHead, ShardedHead
from cdmllab.margins import MarginPolicy

STATISTICS = ("hardest_negative", "hard_negative_mean", "negative_partition")
SUBSETS = [subset for size in range(4) for subset in combinations(STATISTICS, size)]
REDUCTIONS = ("logsumexp", "sum")
# statistics x changes_negatives x sets_scale x centres_per_identity x reduction
COMBINATIONS = list(product(SUBSETS, (False, True), (False, True), (1, 2), REDUCTIONS))
HEADS = {"dense": DenseHead, "blocked": BlockedHead, "sharded": ShardedHead}
SCALE = 8.0


class Probe(MarginPolicy):
    """A loss that uses everything it requests, and records what it observes."""

    def __init__(self, statistics, centres_per_identity, reduction):
        super().__init__()
        self.reduction = reduction
        if self.changes_negatives or reduction == "sum":
            self.offset = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        self.statistics = statistics
        self.centres_per_identity = centres_per_identity
        self.register_buffer("level", torch.zeros((), dtype=torch.float64))
        self.observed = []

    def hard(self, cosines, batch):
        return cosines > batch.target_cos.detach().unsqueeze(1) - 0.6

    def observe(self, batch):
        result = {"target_cos": batch.target_cos, "embedding_norm": batch.embedding_norm}
        result |= {name: getattr(batch, name) for name in STATISTICS}
        self.observed.append(
            {name: None if t is None else t.detach().clone() for name, t in result.items()}
        )
        known = [t.mean() for t in self.observed[-1].values() if t is not None]
        self.level.lerp_(torch.stack(known).mean().to(self.level) / 40.0, 0.5)

    def target(self, target_cos, batch):
        target = target_cos - 0.1 + 0.1 * self.level
        if batch.hardest_negative is not None:
            target = target - 0.05 * batch.hardest_negative.square()
        if batch.hard_negative_mean is not None:
            target = target - 0.03 * batch.hard_negative_mean
        if batch.negative_partition is not None:
            target = target - 0.01 * batch.negative_partition
        return target

    def negative_loss(self, logits):
        return F.softplus(logits - self.offset)

    def sample_loss(self, positive_logit, negatives):
        if self.reduction == "sum":
            return F.softplus(self.offset - positive_logit) + 0.5 * negatives
        return super().sample_loss(positive_logit, negatives)


class _ChangesNegatives:
    """The part of a probe that changes its negatives, with a learnt and an observed number."""

    def negatives(self, cosines, batch):
        return 0.9 * cosines + 0.2 * self.offset * cosines.square() + 0.1 * self.level


class _SetsScale:
    """The part of a probe that derives the scale from its observations."""

    def current_scale(self, scale):
        return (scale * (1.0 + self.level)).to(scale.dtype)


def probe(changes_negatives, sets_scale, *arguments):
    """A loss that overrides only the hooks which it uses, as these tell a head what to compute."""
    parts = [_ChangesNegatives] * changes_negatives + [_SetsScale] * sets_scale
    return type("Probe", (*parts, Probe), {})(*arguments)


def probe_head(backend, combination, c, d=5, **options):
    """A head with the policy of a combination, and the same class centres for all backends."""
    statistics, changes, scales, k, reduction = combination
    policy = probe(changes, scales, statistics, k, reduction)
    if backend != "dense":
        options = {"block": 4, **options}
    size = {"embedding_dim": d, "num_identities": c, "scale": SCALE}
    head = HEADS[backend](policy, name="probe", learn_scale=not scales, **size, **options).double()
    centres, _ = data(c * k, 2, d, seed=9)
    held = head.identities_here
    with torch.no_grad():
        head.centres.copy_(centres[held.start * k : held.stop * k])
    return head


def steps(head, x, y, count=2):
    """Losses, gradients and state after some training steps, and all observations."""
    for _ in range(count):
        head.zero_grad()
        leaf = x.clone().requires_grad_()
        out = head(leaf, y)
        out.loss.backward()
    grads = {name: p.grad for name, p in head.named_parameters()}
    return {
        "loss": out.loss.detach(),
        "sample_loss": out.sample_loss.detach(),
        "margin_rad": out.margin_rad,
        "d_x": leaf.grad,
        "grads": grads,
        "state": {name: value.detach() for name, value in head.state_dict().items()},
        "observed": head.policy.observed,
    }
