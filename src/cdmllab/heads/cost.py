"""The cost of a head's training step on paper: memory, multiply-accumulates and traffic.

The counts cover the tensors that grow with the number of identities or samples, in float32.
`cdmllab bench heads` and `cdmllab bench heads_sharded` compare them with measurements.
"""

from typing import Literal, NamedTuple

BYTES = 4  # of a float32
CELLS = 2**25  # logits in a block on a GPU, see `cdmllab.heads.blocked`


class HeadCost(NamedTuple):
    """The cost of a training step on one rank, for SGD with momentum; in bytes, unless noted."""

    centres: int  # the class centres that the rank holds
    gradient: int  # their gradient
    momentum: int  # their momentum
    drawn: int  # copies of the sampled centres, and their gradient; 0 without sampling
    logits: int  # the largest part of the matrix of logits that is in memory at a time
    embeddings: int  # the embeddings of all ranks, and their gradient
    products: int  # multiply-accumulates (MACs), a count
    traffic: int  # sent by the rank, with ring algorithms

    @property
    def memory(self) -> int:
        """Peak memory: everything that is allocated at the same time."""
        return self.kept + self.drawn + self.logits + self.embeddings

    @property
    def kept(self) -> int:
        """Centres, their gradient and momentum, which every implementation needs."""
        return self.centres + self.gradient + self.momentum


def cost(
    num_identities: int,
    *,
    batch: int,
    ranks: int = 1,
    sample_rate: float = 1.0,
    embedding_dim: int = 512,
    keep: Literal["block", "matrix"] = "block",
    block_cells: int = CELLS,
) -> HeadCost:
    """Count a step of a head whose class centres are split over ranks, as in `ShardedHead`.

    Parameters
    ----------
    num_identities : c
    batch : samples per rank; every rank sees the embeddings of all
    ranks : number of ranks that share the centres; the cost is that of the rank with most of them
    sample_rate : share of the identities that a step uses (Partial FC); those of the batch are
        always used
    embedding_dim : d
    keep : ``"block"``, the blocked head, which has one block of logits at a time and computes each
        twice; or ``"matrix"``, one matrix of all logits, kept for the backward pass. Plain tensor
        operations keep several of those.
    block_cells : logits in a block

    Raises
    ------
    ValueError : a value is out of range
    """
    for name, value in (
        ("num_identities", num_identities),
        ("batch", batch),
        ("ranks", ranks),
        ("embedding_dim", embedding_dim),
        ("block_cells", block_cells),
    ):
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, got {value}")
    if not 0.0 < sample_rate <= 1.0:
        raise ValueError(f"sample_rate must lie in (0, 1], got {sample_rate}")
    if keep not in ("block", "matrix"):
        raise ValueError(f"keep must be 'block' or 'matrix', got {keep!r}")
    held = -(-num_identities // ranks)  # rounded up
    samples = batch * ranks
    # The identities whose logits the rank computes: all that it holds, or its part of the sample,
    # which includes those of the batch (at worst one for every sample).
    counted = held
    if sample_rate < 1.0:
        counted = min(
            held,
            -(-max(round(sample_rate * num_identities), min(samples, num_identities)) // ranks),
        )
    row = BYTES * embedding_dim  # bytes of a centre or an embedding
    cells = samples * counted
    # Matrix products of b x c x d MACs: the logits (twice if they are not kept), the gradient of
    # the embeddings and the gradient of the centres.
    return HeadCost(
        centres=held * row,
        gradient=held * row,
        momentum=held * row,
        drawn=2 * counted * row if counted < held else 0,
        # A block has at least one identity, that is, one logit for every sample.
        logits=BYTES * (cells if keep == "matrix" else min(max(block_cells, samples), cells)),
        embeddings=2 * samples * row,
        products=(3 if keep == "matrix" else 4) * cells * embedding_dim,
        # Gather the embeddings, add up their gradients over ranks, and combine the statistics.
        traffic=_gathered(batch * row, ranks)
        + all_reduced(samples * row, ranks)
        + _statistics(samples, ranks),
    )


def all_reduced(size: int, ranks: int) -> int:
    """Bytes that each rank sends in a ring all-reduce of `size` bytes.

    For comparison: keeping a copy of all centres on every rank, as data-parallel training does,
    would cost ``all_reduced(4 c d, ranks)`` in every step.
    """
    return 2 * (ranks - 1) * size // ranks


def _gathered(size: int, ranks: int) -> int:
    """Bytes that each rank sends in a ring all-gather of `size` bytes per rank."""
    return (ranks - 1) * size


def _statistics(samples: int, ranks: int) -> int:
    """Bytes that each rank sends for seven float32 statistics and the label of each sample."""
    # Two maxima and four sums in `CombinedNegatives`, and the target cosine. A label has 8 bytes.
    return all_reduced(7 * BYTES * samples, ranks) + _gathered(8 * samples // ranks, ranks)
