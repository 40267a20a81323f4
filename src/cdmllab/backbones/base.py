"""The base of all backbones: the check of the input, and ways to compute faster."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Precision = Literal["float32", "bfloat16", "float16"]
"""The precisions that a trunk's convolutions can be computed in."""
_DTYPES: dict[str, torch.dtype | None] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def fast_precision(device: torch.device) -> Precision:
    """``"bfloat16"`` if the device supports it in hardware, otherwise ``"float32"``.

    A processor without AMX or AVX512-BF16 computes in bfloat16 ten times slower than in float32.
    """
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        # Older versions of torch cannot report the processor's instructions.
        features: Mapping[str, Any] = (
            torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        )
        supported = any(features.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
    else:
        supported = False
    return "bfloat16" if supported else "float32"


class Backbone(nn.Module):
    """A convolutional trunk that ends in a small feature map, and an output that embeds the map.

    Subclasses define `trunk` and `output`.

    Parameters
    ----------
    embedding_dim : d
    size : height and width of the input in pixels
    channels : 1 for grey images, 3 for colour
    sizes : smallest and largest size that this network accepts

    Raises
    ------
    ValueError : a value is out of range
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
        """Images (b, channels, size, size) to feature maps (b, width, h, w)."""
        raise NotImplementedError

    def output(self, maps: Tensor) -> Tensor:
        """Feature maps (b, width, h, w) to embeddings (b, embedding_dim)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Compute embeddings, not normalised.

        Parameters
        ----------
        images : Tensor of shape (b, channels, size, size)

        Returns
        -------
        Tensor of shape (b, embedding_dim), in the precision of the parameters also under autocast.

        Raises
        ------
        ValueError : the images have another shape
        """
        c, s = self.channels, self.size
        if images.ndim != 4 or images.shape[1:] != (c, s, s):
            raise ValueError(
                f"images must have shape (b, {c}, {s}, {s}), got {tuple(images.shape)}"
            )
        # The layout of the images decides that of all later maps.
        order = torch.channels_last if self._channels_last else torch.contiguous_format
        images = images.contiguous(memory_format=order)
        dtype, device = _DTYPES[self._precision], images.device.type
        with torch.autocast(device, dtype) if dtype else nullcontext():
            maps = self.trunk(images)
        # The output part in full precision, even if the caller has switched autocast on. Devices
        # without autocast would reject the context.
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
        """Choose how to compute the same function; sets all four options and returns itself.

        Parameters
        ----------
        precision : autocast precision of the trunk; the output part is computed in the precision of
            the parameters
        channels_last : keep the channels of a pixel next to each other in memory, the layout of the
            fast convolutions. It is ignored for networks that are so narrow that oneDNN computes
            them wrongly in this layout
        checkpointing : in training keep only the input of every block, and compute the rest again
            in the backward pass
        compiled : run the network through torch.compile; the first call takes long

        Raises
        ------
        ValueError : unknown precision, or checkpointing together with compiling
        """
        if precision not in _DTYPES:
            raise ValueError(f"precision must be one of {', '.join(_DTYPES)}, got {precision!r}")
        if checkpointing and compiled:
            raise ValueError(
                "checkpointing and compiled exclude each other: the compiler plans memory itself"
            )
        channels_last = channels_last and not _too_narrow(self)
        self._precision, self._channels_last, self._checkpointing = (
            precision,
            channels_last,
            checkpointing,
        )
        # The weights need the same layout as the maps.
        self.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        # `nn.Module.compile` leaves its result here, and it would outlive a change of the options.
        self._compiled_call_impl = None
        if compiled:
            self.compile()
        return self

    def _block(self, block: nn.Module, x: Tensor) -> Tensor:
        """Run one block, with checkpointing if it is enabled; shapes as for the block."""
        if self._checkpointing and self.training and torch.is_grad_enabled():
            contexts = (nullcontext(), _statistics_kept(block))  # forward, recomputation
            out: Tensor = checkpoint(block, x, use_reentrant=False, context_fn=lambda: contexts)
        else:
            out = block(x)
        return out

    def _parameter_dtype(self) -> torch.dtype:
        # Taken from a buffer, the first running mean: the replicas of nn.DataParallel have no
        # parameters.
        return next(self.buffers()).dtype


def _too_narrow(network: nn.Module) -> bool:
    """Whether a strided 1x1 convolution has fewer than 16 input channels, an AVX-512 register.

    In the channels-last layout oneDNN's backward pass then writes past its workspace: wrong
    gradients, a crash, or threads that never return
    (https://github.com/uxlfoundation/oneDNN/issues/6035; torch 2.15 has the bug on CPUs).
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    return any(
        c.kernel_size == (1, 1) and c.stride != (1, 1) and c.in_channels < 16 for c in convolutions
    )


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Freeze the running statistics of a block while checkpointing computes it a second time."""
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # Momentum 0 leaves the running mean and variance as they are; no counter, no count.
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
