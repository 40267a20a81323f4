"""What all backbones share: the check of the input, and ways to compute the same thing faster."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Precision = Literal["float32", "bfloat16", "float16"]
"""What the products of a trunk can be computed in."""
_DTYPES: dict[str, torch.dtype | None] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def fast_precision(device: torch.device) -> Precision:
    """``"bfloat16"`` where the device multiplies it in hardware, ``"float32"`` elsewhere.

    A processor without AMX or AVX512-BF16 computes bfloat16 ten times slower than float32.
    """
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        features: Mapping[str, Any] = (
            torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        )
        able = any(features.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
    else:
        able = False
    return "bfloat16" if able else "float32"


class Backbone(nn.Module):
    """A trunk of convolutions down to a small map of features, and an output part that makes the
    embedding of it.

    Subclasses define `trunk` and `output`.

    Parameters
    ----------
    embedding_dim : d
    size : height and width of the input in pixels
    channels : 1 for grey images, 3 for colour
    sizes : smallest and largest size this network takes
    """

    def __init__(
        self, embedding_dim: int, size: int, channels: int, sizes: tuple[int, int]
    ) -> None:
        super().__init__()
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, got {embedding_dim}")
        if not sizes[0] <= size <= sizes[1]:
            raise ValueError(
                f"this network takes images of {sizes[0]} to {sizes[1]} pixels, got size={size}"
            )
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
        self.embedding_dim, self.size, self.channels = embedding_dim, size, channels
        self._precision: Precision = "float32"
        self._channels_last = self._checkpointing = False

    def trunk(self, images: Tensor) -> Tensor:
        """Shape (b, channels, size, size) to a map of features (b, width, h, w)."""
        raise NotImplementedError

    def output(self, maps: Tensor) -> Tensor:
        """A map of features (b, width, h, w) to embeddings (b, embedding_dim)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings, not yet normalised.

        Parameters
        ----------
        images : Tensor of shape (b, channels, size, size)

        Returns
        -------
        Tensor of shape (b, embedding_dim), in the precision of the parameters also under autocast.
        """
        c, s = self.channels, self.size
        if images.ndim != 4 or images.shape[1:] != (c, s, s):
            raise ValueError(
                f"images must have shape (b, {c}, {s}, {s}), got {tuple(images.shape)}"
            )
        order = torch.channels_last if self._channels_last else torch.contiguous_format
        images = images.contiguous(memory_format=order)
        dtype, device = _DTYPES[self._precision], images.device.type
        with torch.autocast(device, dtype) if dtype else nullcontext():
            maps = self.trunk(images)
        with (
            torch.autocast(device, enabled=False)
            if torch.amp.is_autocast_available(device)
            else nullcontext()
        ):
            return self.output(maps.to(self._parameter_dtype()))

    def speed_up(
        self,
        *,
        precision: Precision = "float32",
        channels_last: bool = False,
        checkpointing: bool = False,
        compiled: bool = False,
    ) -> Self:
        """Compute the same function in another way; sets all four, in place, and returns the
        network.

        Parameters
        ----------
        precision : of the trunk's products, by autocast; the output part stays in the parameters'
            precision
        channels_last : keep the channels of a pixel together in memory, which the fast convolutions
            want; networks so narrow that oneDNN computes them wrongly that way stay as they are
        checkpointing : in training keep only the input of every block and compute the rest again on
            the way back
        compiled : let torch.compile fuse what it can; the first call takes long

        Raises
        ------
        ValueError : a precision that does not exist, or checkpointing together with compiling
        """
        if precision not in _DTYPES:
            raise ValueError(f"precision must be one of {', '.join(_DTYPES)}, got {precision!r}")
        if checkpointing and compiled:
            raise ValueError(
                "checkpointing and compiled exclude each other: the compiler plans memory by itself"
            )
        channels_last = channels_last and not _too_narrow(self)
        self._precision, self._channels_last, self._checkpointing = (
            precision,
            channels_last,
            checkpointing,
        )
        self.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        self._compiled_call_impl = None
        if compiled:
            self.compile()
        return self

    def _block(self, block: nn.Module, x: Tensor) -> Tensor:
        """Run one block, checkpointed if asked for; shape as the block has it."""
        if self._checkpointing and self.training and torch.is_grad_enabled():
            again = (nullcontext(), _statistics_kept(block))
            out: Tensor = checkpoint(block, x, use_reentrant=False, context_fn=lambda: again)
        else:
            out = block(x)
        return out

    def _parameter_dtype(self) -> torch.dtype:
        # Of the first running mean: the replicas of nn.DataParallel have buffers but no parameters.
        return next(self.buffers()).dtype


def _too_narrow(network: nn.Module) -> bool:
    """Whether a strided 1x1 convolution reads fewer channels than a vector register holds, 16 with
    AVX-512.

    On its way back oneDNN then writes past its workspace if the channels come last: wrong
    gradients, a crash, or threads that wait for ever
    (https://github.com/uxlfoundation/oneDNN/issues/6035; torch 2.15 on CPUs has the fault).
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    return any(
        c.kernel_size == (1, 1) and c.stride != (1, 1) and c.in_channels < 16 for c in convolutions
    )


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """While a block is computed again its running means must not move a second time."""
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
