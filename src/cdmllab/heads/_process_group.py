"""The processes that share a head: which identities each one holds, and how they communicate."""

import zlib
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


class Ranks(NamedTuple):
    """One process's view of torch.distributed's default group; rank 0 of 1 without a group."""

    rank: int
    size: int

    @classmethod
    def current(cls) -> "Ranks":
        """The process group at this moment."""
        grouped = dist.is_available() and dist.is_initialized()
        return cls(dist.get_rank(), dist.get_world_size()) if grouped else cls(0, 1)

    def share(self, count: int, rank: int | None = None) -> range:
        """The contiguous range of `count` items that a rank holds; by default this rank.

        All ranges have the same length, except that the last ones may be shorter or empty: the
        rule of torch.chunk, and so of a DTensor with ``Shard(0)``.
        """
        each = -(-count // self.size)  # rounded up
        first = min(each * (self.rank if rank is None else rank), count)
        return range(first, min(first + each, count))

    def total(self, values: Tensor) -> Tensor:
        """The sum over ranks, the same on all of them; any shape."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def largest(self, values: Tensor) -> Tensor:
        """The maximum over ranks, elementwise; any shape."""
        return self._reduced(values, dist.ReduceOp.MAX)

    def _reduced(self, values: Tensor, operation: Any) -> Tensor:
        if self.size == 1:
            return values
        # `all_reduce` works in place: leave the caller's tensor as it is.
        result = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(result, operation)
        return result

    def gathered(self, values: Tensor) -> Tensor:
        """The rows of all ranks in rank order; shape (b, ...) on each to (size b, ...)."""
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
        """All columns of this rank's rows, for a matrix that is split by columns over ranks.

        Parameters
        ----------
        values : the rows of all ranks, with the columns that this rank holds; shape (size b,
            len(share(count)))
        count : number of columns on all ranks together

        Returns
        -------
        Tensor of shape (b, count).
        """
        if self.size == 1:
            return values
        # Each rank sends every rank that rank's rows, and receives its own rows with all columns.
        b = len(values) // self.size
        widths = [len(self.share(count, rank)) for rank in range(self.size)]
        received = values.new_empty(b * count)
        dist.all_to_all_single(
            received,
            values.contiguous().flatten(),
            [b * width for width in widths],
            [b * values.shape[1]] * self.size,
        )
        # The result is flat, one run of b x width values from each sender.
        parts = received.split([b * width for width in widths])
        return torch.cat(
            [part.view(b, width) for part, width in zip(parts, widths, strict=True)], dim=1
        )

    def agree(self, complaint: str | None, about: str, device: torch.device) -> None:
        """Raise the same error on every rank if one reports a problem, or if the ranks disagree.

        A rank that raised alone would leave the others waiting in the next collective operation.

        Parameters
        ----------
        complaint : the error message of this rank, None if all is well
        about : a description that has to be the same on all ranks
        device : a device that the process group can send from

        Raises
        ------
        ValueError : with the number of the rank
        """
        if self.size == 1:
            if complaint is not None:
                raise ValueError(complaint)
            return
        # A flag and a checksum are cheap to exchange in every step; the texts, which need pickling,
        # are exchanged only after something went wrong.
        flag = torch.tensor([complaint is not None, zlib.crc32(about.encode())], device=device)
        flags = self.gathered(flag.unsqueeze(0)).tolist()
        # No rank complains, and all checksums equal that of rank 0.
        if flags == [[0, flags[0][1]]] * self.size:
            return
        reports: list[tuple[str | None, str]] = [(None, "")] * self.size
        dist.all_gather_object(reports, (complaint, about))
        complaints = [
            f"rank {i}: {text}" for i, (text, _) in enumerate(reports) if text is not None
        ]
        if complaints:
            raise ValueError("; ".join(complaints))
        # Nobody complains, but the descriptions differ: report the first unlike that of rank 0.
        first = reports[0][1]
        other = next(i for i, (_, text) in enumerate(reports) if text != first)
        raise ValueError(
            f"the ranks disagree: rank 0 has {first}, rank {other} has {reports[other][1]}"
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
        # Every rank has the complete gradient of the common loss: there is nothing to sum.
        return ranks.own(grads[0]) * ranks.size, None


def gather(values: Tensor, ranks: Ranks) -> Tensor:
    """`Ranks.gathered` with a gradient: this rank's rows of it, times the number of ranks.

    For computations that every rank repeats identically from all rows, up to one common loss. The
    factor makes the gradient right after DistributedDataParallel has averaged it over ranks.
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
        # In the mean of the ranks' losses, a rank's own rows count 1 / size.
        return ranks.gathered(grads[0]) / ranks.size, None


def own_rows(values: Tensor, ranks: Ranks) -> Tensor:
    """`Ranks.own` with a gradient, for rows computed alike on all ranks, but different losses.

    The quantity that is differentiated is the mean of the ranks' losses, as under
    DistributedDataParallel.
    """
    result: Tensor = _OwnRows.apply(values, ranks)
    return result


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, ranks: Ranks, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.ranks = ranks
        return tuple(value.view_as(value) for value in values)  # new tensors on the same memory

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[1:]
        # Which inputs need a gradient is the same on all ranks, so all take part in the same sums.
        return None, *(
            ctx.ranks.total(g) if need else None for g, need in zip(grads, needed, strict=True)
        )


def shared(ranks: Ranks, *values: Tensor) -> tuple[Tensor, ...]:
    """Tensors that are equal on all ranks but used differently: their gradients are summed."""
    result: tuple[Tensor, ...] = _Shared.apply(ranks, *values)
    return result


class CombinedNegatives(torch.autograd.Function):
    """Combine the ranks' reductions of the same samples' negatives, and split the gradient.

    With N_r the reduction on rank r and N = log(sum_r exp(N_r)), dN / dN_r = exp(N_r - N); where
    the negatives' losses are summed it is 1. The gradient of the target cosine goes to the rank
    that holds the positive centre, that of the hardest negative to the rank that holds that
    negative, in equal parts if several ranks tie.
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
        # One all-reduce for both maxima, and one below for the four sums: few, larger messages.
        highest, hardest_of_all = ranks.largest(torch.stack([reduced, hardest]))
        shift = highest.nan_to_num(neginf=0.0)  # -inf: a sample without a single negative
        part = reduced if sums else torch.exp(reduced - shift)
        # 1 on each rank that has the hardest negative; `holders` counts these ranks.
        has_it = (hardest == hardest_of_all).to(hardest.dtype)
        total, holders, hard_sum, hard_count = ranks.total(
            torch.stack([part, has_it, hard_sum, hard_count])
        )
        if sums:
            combined, share = total, torch.ones_like(total)
        else:
            combined = total.log() + shift
            # Without a negative on any rank both are -inf, and exp(-inf + inf) would be NaN.
            share = torch.where(total > 0.0, torch.exp(reduced - combined), 0.0)
        ctx.save_for_backward(share, here, has_it / holders)
        ctx.mark_non_differentiable(hard_sum, hard_count)
        return combined, target.clone(), hardest_of_all, hard_sum, hard_count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        share, here, part = ctx.saved_tensors
        return grads[0] * share, grads[1] * here, grads[2] * part, None, None, None, None, None
