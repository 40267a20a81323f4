"""Losses over pairs of embeddings, from pytorch-metric-learning, as heads."""

from typing import Any

import torch
from torch import Tensor, nn

from cdmllab.errors import optional
from cdmllab.heads.checks import check_batch, check_embeddings
from cdmllab.heads.head import Head
from cdmllab.heads.output import HeadOutput

with optional("pairs", "a loss over pairs of embeddings"):
    from pytorch_metric_learning import losses

# The defaults are those of the papers' face experiments; the names and meanings of the options are
# the library's.
_TABLE: dict[str, tuple[type[nn.Module], dict[str, float]]] = {
    "triplet": (losses.TripletMarginLoss, {"margin": 0.35}),
    "contrastive": (losses.ContrastiveLoss, {"pos_margin": 0.0, "neg_margin": 1.0}),
    "circle": (losses.CircleLoss, {"m": 0.25, "gamma": 256.0}),
}


class PairHead(Head):
    """A pair loss as a head, without class centres.

    Distances are between unit embeddings. A batch needs identities that occur at least twice.

    Parameters
    ----------
    name : ``"triplet"``, ``"contrastive"`` or ``"circle"``
    embedding_dim, num_identities : the sizes that a batch is checked against
    options : options of the library's loss

    Raises
    ------
    ValueError : the loss has no such option
    """

    def __init__(
        self, name: str, *, embedding_dim: int, num_identities: int, **options: Any
    ) -> None:
        super().__init__()
        kind, defaults = _TABLE[name]
        for key in options:
            if key not in defaults:
                raise ValueError(f"{name} has no option {key!r}; it has: {', '.join(defaults)}")
        self.name, self.embedding_dim, self.num_identities = name, embedding_dim, num_identities
        self.options = {**defaults, **options}
        self.loss = kind(**self.options)

    def forward(self, embeddings: Tensor, labels: Any) -> HeadOutput:
        """Loss of a batch, see `MarginHead.forward`; all per-sample tensors are NaN."""
        check_embeddings(embeddings, self.embedding_dim)
        with torch.autocast(embeddings.device.type, enabled=False):
            samples, _ = check_batch(embeddings, labels, None, self.num_identities)
            kept = samples.kept()
            loss = self.loss(kept.embeddings, kept.labels)
        # The library averages over pairs or triplets, so no value belongs to a single sample.
        unknown = samples.embeddings.new_full((len(samples.labels),), torch.nan)
        return HeadOutput(loss, unknown, unknown, unknown, None, None)

    def __repr__(self) -> str:
        chosen = ", ".join(f"{key}={value:g}" for key, value in self.options.items())
        return f"PairHead({self.name}: {self.embedding_dim}-d embeddings; {chosen})"
