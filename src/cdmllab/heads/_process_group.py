"""The processes that share a head: who holds which identities, and what they tell each other."""

import zlib
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


class Ranks(NamedTuple):
    """The default process group of torch.distributed as one process sees it; alone where there is
    none.
    """

    rank: int
    size: int

    @classmethod
    def current(cls) -> "Ranks":
        """As things are now."""
        together = dist.is_available() and dist.is_initialized()
        return cls(dist.get_rank(), dist.get_world_size()) if together else cls(0, 1)

    def share(self, count: int, rank: int | None = None) -> range:
        """Which of `count` things a rank holds (this one, unless told): equal runs, the last ones
        shorter or empty.

        The rule of torch.chunk, and so of a DTensor with ``Shard(0)``.
        """
        each = -(-count // self.size)
        first = min(each * (self.rank if rank is None else rank), count)
        return range(first, min(first + each, count))

    def total(self, values: Tensor) -> Tensor:
        """The sum over ranks, the same on all of them; any shape."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def largest(self, values: Tensor) -> Tensor:
        """The maximum over ranks, elementwise; any shape."""
        return self._reduced(values, dist.ReduceOp.MAX)

    def _reduced(self, values: Tensor, how: Any) -> Tensor:
        if self.size == 1:
            return values
        result = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(result, how)
        return result

    def gathered(self, values: Tensor) -> Tensor:
        """The rows of all ranks, one rank after the other; shape (b, ...) on each to (size
        b, ...).
        """
        if self.size == 1:
            return values
        result = values.new_empty(self.size * len(values), *values.shape[1:])
        dist.all_gather_into_tensor(result, values.contiguous())
        return result

    def own(self, values: Tensor) -> Tensor:
        """The rows of this rank among those of all; shape (size b, ...) to (b, ...)."""
        each = len(values) // self.size
        return values[self.rank * each : (self.rank + 1) * each]

    def columns_of_own(self, values: Tensor, count: int) -> Tensor:
        """Of a matrix that is split by columns, this rank's rows with all columns.

        Parameters
        ----------
        values : the rows of all ranks, the columns that this one holds; shape (size b,
            len(share(count)))
        count : how many columns there are on all ranks together

        Returns
        -------
        Tensor of shape (b, count).
        """
        if self.size == 1:
            return values
        b = len(values) // self.size
        widths = [len(self.share(count, rank)) for rank in range(self.size)]
        received = values.new_empty(b * count)
        dist.all_to_all_single(
            received,
            values.contiguous().flatten(),
            [b * width for width in widths],
            [b * values.shape[1]] * self.size,
        )
        parts = received.split([b * width for width in widths])
        return torch.cat(
            [part.view(b, width) for part, width in zip(parts, widths, strict=True)], dim=1
        )

    def agree(self, complaint: str | None, about: str, device: torch.device) -> None:
        """Raise the same error on every rank if one has a complaint, or if what they are about to
        do differs.

        A rank that stopped alone would leave the others waiting.

        Parameters
        ----------
        complaint : what is wrong on this rank, None if nothing is
        about : what has to be the same, in words
        device : where the process group can send from

        Raises
        ------
        ValueError : naming the rank
        """
        if self.size == 1:
            if complaint is not None:
                raise ValueError(complaint)
            return
        mine = torch.tensor([complaint is not None, zlib.crc32(about.encode())], device=device)
        told = self.gathered(mine.unsqueeze(0)).tolist()
        if told == [[0, told[0][1]]] * self.size:
            return
        said: list[tuple[str | None, str]] = [(None, "")] * self.size
        dist.all_gather_object(said, (complaint, about))
        complaints = [f"rank {i}: {text}" for i, (text, _) in enumerate(said) if text is not None]
        if complaints:
            raise ValueError("; ".join(complaints))
        other = next(i for i, (_, text) in enumerate(said) if text != said[0][1])
        raise ValueError(
            f"the ranks disagree: rank 0 has {said[0][1]}, rank {other} has {said[other][1]}"
        )


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.gathered(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        ranks: Ranks = ctx.ranks
        return ranks.own(grads[0]) * ranks.size, None


def gather(values: Tensor, ranks: Ranks) -> Tensor:
    """`Ranks.gathered` with a gradient: this rank's rows of it, times the number of ranks.

    It is for what every rank computes alike from all rows, up to one loss. A gradient so scaled is
    right once the ranks' gradients are averaged, which DistributedDataParallel does.
    """
    result: Tensor = _Gathered.apply(values, ranks)
    return result


class _OwnRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.own(values).clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        ranks: Ranks = ctx.ranks
        return ranks.gathered(grads[0]) / ranks.size, None


def own_rows(values: Tensor, ranks: Ranks) -> Tensor:
    """`Ranks.own` with a gradient, of rows that every rank has computed alike, for losses that
    differ by rank.

    What is differentiated is the mean over ranks of what each makes of its rows, as
    DistributedDataParallel has it.
    """
    result: Tensor = _OwnRows.apply(values, ranks)
    return result


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ranks: Ranks, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.ranks = ranks
        return tuple(value.view_as(value) for value in values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[1:]
        return None, *(
            ctx.ranks.total(g) if wanted else None for g, wanted in zip(grads, needed, strict=True)
        )


def shared(ranks: Ranks, *values: Tensor) -> tuple[Tensor, ...]:
    """What is the same on all ranks, unchanged, for a use that differs: the gradients of all of
    them are added up.
    """
    result: tuple[Tensor, ...] = _Shared.apply(ranks, *values)
    return result


class CombinedNegatives(torch.autograd.Function):
    """What the ranks found out about the negatives of the same samples, put together; and its
    gradient, shared out.

    d log(sum_r exp(n_r)) / d n_r = exp(n_r - n); where the negatives' losses are added up, 1. The
    target cosine is the holder's, the hardest negative belongs to the rank that has it (if several
    have, to each in part).
    """

    @staticmethod
    def forward(
        ctx: Any,
        reduced: Tensor,
        target: Tensor,
        hardest: Tensor,
        hard_sum: Tensor,
        hard_count: Tensor,
        here: Tensor,
        sums: bool,
        ranks: Ranks,
    ) -> tuple[Tensor, ...]:
        highest, hardest_of_all = ranks.largest(torch.stack([reduced, hardest]))
        shift = highest.nan_to_num(neginf=0.0)  # a draw may hold nothing but the own class
        part = reduced if sums else torch.exp(reduced - shift)
        has_it = (hardest == hardest_of_all).to(hardest.dtype)
        total, holders, hard_sum, hard_count = ranks.total(
            torch.stack([part, has_it, hard_sum, hard_count])
        )
        if sums:
            whole, share = total, torch.ones_like(total)
        else:
            whole = total.log() + shift
            share = torch.where(total > 0.0, torch.exp(reduced - whole), 0.0)
        ctx.save_for_backward(share, here, has_it / holders)
        ctx.mark_non_differentiable(hard_sum, hard_count)
        return whole, target.clone(), hardest_of_all, hard_sum, hard_count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        share, here, part = ctx.saved_tensors
        return grads[0] * share, grads[1] * here, grads[2] * part, None, None, None, None, None
