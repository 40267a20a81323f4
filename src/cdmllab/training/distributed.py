"""The place of this process: alone, or one of several that torchrun started."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cdmllab.errors import CdmlLabError

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """A process among `world_size`, and its device."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and logs."""
        return self.rank == 0

    def wrap(self, backbone: nn.Module) -> nn.Module:
        """Wrap a backbone so that gradients are averaged over the processes."""
        if self.world_size == 1:
            return backbone
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(backbone, device_ids=ids)

    def no_sync(self, network: nn.Module) -> AbstractContextManager[None]:
        """Skip the exchange of gradients while batches are accumulated."""
        if isinstance(network, DistributedDataParallel):
            context: AbstractContextManager[None] = network.no_sync()
            return context
        return nullcontext()

    def random_state(self) -> dict[str, Tensor]:
        """The random state of the device."""
        return {"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `random_state` gave."""
        if self.device.type == "cuda" and "cuda" in state:
            # torch expects the state of a GPU's generator on the CPU.
            torch.cuda.set_rng_state(state["cuda"].cpu(), self.device)

    def wait(self) -> None:
        """Wait until all processes have reached this point."""
        if self.world_size > 1:
            dist.barrier()

    def agree(self, value: T) -> T:
        """Give all processes the value of the first one."""
        if self.world_size == 1:
            return value
        # `broadcast_object_list` fills the list in place.
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]


def lost(error: BaseException) -> CdmlLabError | None:
    """The error to raise if `error` was caused by the end of another process; otherwise None.

    The libraries report the end of a peer in terms of sockets.
    """
    network = isinstance(error, dist.DistBackendError | dist.DistNetworkError)
    # gloo raises a RuntimeError whose text names its source file, such as gloo/transport/.
    if not network and not (isinstance(error, RuntimeError) and "gloo/" in str(error)):
        return None
    return CdmlLabError(
        "another process of this training ended or cannot be reached: its output has the cause; "
        "--resume continues from the newest checkpoint"
    )


@contextmanager
def place(device: str) -> Iterator[Place]:
    """Join the process group if torchrun started this process, and leave it at the end."""
    # torchrun sets WORLD_SIZE to the number of processes, LOCAL_RANK to that on this machine.
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Place(torch.device(device))
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    # Every process on a machine has a GPU of its own.
    own = torch.device("cuda", local) if device == "cuda" else torch.device("cpu")
    if own.type == "cuda":
        torch.cuda.set_device(own)
    initialised_here = not dist.is_initialized()
    if initialised_here:
        dist.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield Place(own, dist.get_rank(), world_size)
    finally:
        if initialised_here:
            dist.destroy_process_group()
