"""The elementwise parts of the blocked head, plain or compiled into one pass over a block each.

Plain, they take about a tenth of the time of the matrix products on a CPU, and more on a GPU, whose
products are faster than its memory. Compiling removes most of that and takes half a minute once, so
it is the default on CUDA.
"""

import warnings
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor


class Elementwise(NamedTuple):
    """The parts; those that sum up may use up the block of logits they are given."""

    add_up: Callable[[Tensor], Tensor]
    accumulate: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    pull: Callable[[Tensor, Tensor, bool], Tensor]


def _add_up(z: Tensor) -> Tensor:
    """The sum of exp(logit) over a block [b, n], for logits that cannot overflow; [b]."""
    return torch.exp(z).sum(dim=1)


def _add_up_in_place(z: Tensor) -> Tensor:
    return z.exp_().sum(dim=1)


def _accumulate(z: Tensor, largest: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Take a block of logits [b, n] into the running maximum [b] and the sum of exp(logit -
    maximum) [b].
    """
    highest = torch.maximum(largest, z.amax(dim=1))
    shift = highest.nan_to_num(neginf=0.0)  # a block may hold nothing but the own class
    return highest, total * torch.exp(largest - shift) + torch.exp(z - shift.unsqueeze(1)).sum(
        dim=1
    )


def _accumulate_in_place(z: Tensor, largest: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    highest = torch.maximum(largest, z.amax(dim=1))
    shift = highest.nan_to_num(neginf=0.0)
    return highest, total * torch.exp(largest - shift) + z.sub_(shift.unsqueeze(1)).exp_().sum(
        dim=1
    )


def _pull(z: Tensor, partition: Tensor, keep: bool) -> Tensor:
    """The softmax over the negatives, a block of it: how hard each is pushed away; [b, n], [b] to
    [b, n].

    Without `keep` it may use up the block.
    """
    return torch.exp(z - partition.unsqueeze(1))


def _pull_in_place(z: Tensor, partition: Tensor, keep: bool) -> Tensor:
    rest = z - partition.unsqueeze(1) if keep else z.sub_(partition.unsqueeze(1))
    return rest.exp_()


PLAIN = Elementwise(_add_up_in_place, _accumulate_in_place, _pull_in_place)


@cache
def compiled(device_type: str) -> Elementwise:
    """The parts through torch.compile; the plain ones, with a warning, where there is no working
    compiler.
    """
    parts = Elementwise(
        torch.compile(_add_up, dynamic=True),
        torch.compile(_accumulate, dynamic=True),
        torch.compile(_pull, dynamic=True),
    )
    z, row = torch.zeros(4, 8, device=device_type), torch.zeros(4, device=device_type)
    try:
        parts.add_up(z)
        parts.accumulate(z, row, row)
        parts.pull(z, row, True)
    except (
        Exception
    ) as error:  # compilers fail in many ways, and none of them matters to the result
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        warnings.warn(
            f"the head's elementwise parts run uncompiled: {reason}", RuntimeWarning, stacklevel=2
        )
        return PLAIN
    return parts
