"""The elementwise operations of the blocked head, each plain or compiled into a single pass.

Uncompiled, they take about a tenth of the time of the matrix products on a CPU, and more on a GPU,
where they are limited by memory bandwidth. Compiling removes most of that and takes half a minute
once, so it is the default on CUDA.
"""

import warnings
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor


class Elementwise(NamedTuple):
    """The operations; `add_up` and `accumulate` may overwrite the block of logits."""

    add_up: Callable[[Tensor], Tensor]
    accumulate: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    softmax: Callable[[Tensor, Tensor, bool], Tensor]


def _add_up(z: Tensor) -> Tensor:
    """The sum of exp(logit) over a block [b, n], for logits that cannot overflow; [b]."""
    return torch.exp(z).sum(dim=1)


def _add_up_in_place(z: Tensor) -> Tensor:
    return z.exp_().sum(dim=1)


def _accumulate(z: Tensor, largest: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Add a block of logits [b, n] to the running maximum and sum of exp(logit - maximum), [b].

    When the maximum rises, the old sum is rescaled to it (Milakov and Gimelshein, algorithm 3,
    https://arxiv.org/abs/1805.02867).
    """
    highest = torch.maximum(largest, z.amax(dim=1))
    # A block may contain nothing but the positive centre: its maximum is -inf, and
    # exp(-inf - (-inf)) would be NaN.
    shift = highest.nan_to_num(neginf=0.0)
    return highest, total * torch.exp(largest - shift) + torch.exp(z - shift.unsqueeze(1)).sum(
        dim=1
    )


def _accumulate_in_place(z: Tensor, largest: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    highest = torch.maximum(largest, z.amax(dim=1))
    shift = highest.nan_to_num(neginf=0.0)  # as in `_accumulate`
    return highest, total * torch.exp(largest - shift) + z.sub_(shift.unsqueeze(1)).exp_().sum(
        dim=1
    )


def _softmax(z: Tensor, partition: Tensor, keep: bool) -> Tensor:
    """A block of the softmax over the negatives, exp(z - N); shapes [b, n], [b] to [b, n].

    It may overwrite the block of logits unless `keep` is True.
    """
    return torch.exp(z - partition.unsqueeze(1))


def _softmax_in_place(z: Tensor, partition: Tensor, keep: bool) -> Tensor:
    rest = z - partition.unsqueeze(1) if keep else z.sub_(partition.unsqueeze(1))
    return rest.exp_()


PLAIN = Elementwise(_add_up_in_place, _accumulate_in_place, _softmax_in_place)


@cache
def compiled(device_type: str) -> Elementwise:
    """The operations through torch.compile, or, with a warning, the plain ones if that fails."""
    parts = Elementwise(
        # Dynamic shapes: the last block is narrower than the others, and would compile again.
        torch.compile(_add_up, dynamic=True),
        torch.compile(_accumulate, dynamic=True),
        torch.compile(_softmax, dynamic=True),
    )
    # torch.compile is lazy: a missing compiler only shows when a function is called.
    z, row = torch.zeros(4, 8, device=device_type), torch.zeros(4, device=device_type)
    try:
        parts.add_up(z)
        parts.accumulate(z, row, row)
        parts.softmax(z, row, True)
    except Exception as error:  # compilers fail in many ways; the plain operations always work
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        warnings.warn(
            f"the head's elementwise operations run uncompiled: {reason}",
            RuntimeWarning,
            stacklevel=2,
        )
        return PLAIN
    return parts
