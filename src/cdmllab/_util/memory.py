"""The peak memory of tensors, counted rather than measured, and so the same on every machine."""

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary


class TensorPeak(TorchDispatchMode):
    """Count the bytes of tensors created within its ``with`` block, and keep the peak.

    Forward and backward passes count, also inside custom functions. Not counted are earlier
    tensors, the internal buffers of operations, and the allocations of compiled code.

    Examples
    --------
    >>> with TensorPeak() as peak:
    ...     for _ in range(3):
    ...         a = torch.ones(2**18) + 1
    >>> peak.mib
    3.0
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = self._most = 0
        self._known = WeakIdKeyDictionary()

    @property
    def mib(self) -> float:
        """The peak, in MiB."""
        return self._most / 2**20

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Tensors that come in from outside are known, but not counted.
        for storage in _storages((args, kwargs)):
            self._known.setdefault(storage, True)
        out = func(*args, **(kwargs or {}))
        for storage in _storages(out):
            if storage not in self._known:
                self._known[storage] = True
                self._now += storage.nbytes()
                # Subtract the storage when it is freed, but not at the end of the program.
                weakref.finalize(storage, self._gone, storage.nbytes()).atexit = False
        self._most = max(self._most, self._now)
        return out

    def _gone(self, size: int) -> None:
        self._now -= size


def _storages(values: Any) -> Iterator[torch.UntypedStorage]:
    for leaf in tree_leaves(values):
        if isinstance(leaf, Tensor):
            yield leaf.untyped_storage()
