"""What a head costs on paper: memory, products and traffic of a training step, for any number of
identities and ranks.

Counted are the tensors that grow with identities or samples, in float32; how the counts compare
with what a machine takes is measured by `cdmllab bench heads` and `heads_sharded`.
"""

from typing import Literal, NamedTuple

BYTES = 4  # of a float32
CELLS = 2**25  # of a block of logits on a GPU, see `cdmllab.heads.blocked`


class HeadCost(NamedTuple):
    """Of one rank, for one training step of SGD with momentum; all but `products` in bytes."""

    centres: int  # the class centres that the rank holds
    gradient: int  # of these
    momentum: int  # of these
    drawn: int  # copies of the drawn centres, and their gradient; 0 where all count
    logits: int  # the largest piece of the matrix of logits that is there at a time
    embeddings: int  # those of all ranks, and their gradient
    products: int  # multiply-accumulates
    traffic: int  # what the rank sends, as a ring does it

    @property
    def memory(self) -> int:
        """All that is there at the same time."""
        return self.kept + self.drawn + self.logits + self.embeddings

    @property
    def kept(self) -> int:
        """What stays from step to step, and the gradient: no way of computing does without it."""
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
    """Count a step of a head whose class centres are shared out over ranks, as `ShardedHead` does
    it.

    Parameters
    ----------
    num_identities : c
    batch : samples of each rank; every rank sees the embeddings of all
    ranks : among which the centres are dealt out; the one with most of them is counted
    sample_rate : share of the identities that count in a step (Partial FC); those of the batch
        always do
    embedding_dim : d
    keep : ``"block"``, the blocked head, which has one block of logits at a time and computes each
        twice; or ``"matrix"``, one matrix of all logits, kept for the way back. Plain tensor
        operations have several of those.
    block_cells : logits of a block

    Raises
    ------
    ValueError : a number out of range
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
    held = -(-num_identities // ranks)
    samples = batch * ranks
    counted = held
    if sample_rate < 1.0:
        counted = min(
            held,
            -(-max(round(sample_rate * num_identities), min(samples, num_identities)) // ranks),
        )
    row = BYTES * embedding_dim
    cells = samples * counted
    return HeadCost(
        centres=held * row,
        gradient=held * row,
        momentum=held * row,
        drawn=2 * counted * row if counted < held else 0,
        logits=BYTES * (cells if keep == "matrix" else min(max(block_cells, samples), cells)),
        embeddings=2 * samples * row,
        products=(3 if keep == "matrix" else 4) * cells * embedding_dim,
        traffic=_gathered(batch * row, ranks)
        + all_reduced(samples * row, ranks)
        + _statistics(samples, ranks),
    )


def all_reduced(size: int, ranks: int) -> int:
    """Bytes that each rank sends until all have the sum of `size` bytes over ranks, in a ring.

    So much a data-parallel copy of all centres would cost every step:
    ``all_reduced(4 c d, ranks)``.
    """
    return 2 * (ranks - 1) * size // ranks


def _gathered(size: int, ranks: int) -> int:
    """Bytes that each rank sends until all have the `size` bytes of everyone."""
    return (ranks - 1) * size


def _statistics(samples: int, ranks: int) -> int:
    """Target, partition, its maximum and the hardest negative: seven numbers a sample, and its
    label.
    """
    return all_reduced(7 * BYTES * samples, ranks) + _gathered(8 * samples // ranks, ranks)
