"""Which process this is: alone, or one of many that torchrun started."""

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
    """A process among `world_size`, and the device it computes on."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    def wrap(self, backbone: nn.Module) -> nn.Module:
        """The backbone, its gradients averaged over the processes; alone, as it is."""
        if self.world_size == 1:
            return backbone
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(backbone, device_ids=ids)

    def no_sync(self, network: nn.Module) -> AbstractContextManager[None]:
        """While batches are accumulated gradients need not travel."""
        if isinstance(network, DistributedDataParallel):
            context: AbstractContextManager[None] = network.no_sync()
            return context
        return nullcontext()

    def random_state(self) -> dict[str, Tensor]:
        """The device's own random state."""
        return {"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """The reverse of `random_state`."""
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"].cpu(), self.device)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world_size > 1:
            dist.barrier()

    def agree(self, value: T) -> T:
        """What the first process says, on all of them."""
        if self.world_size == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, src=0)
        return said[0]


def lost(error: BaseException) -> CdmlLabError | None:
    """What an error means that came because another process ended; None for any other error.

    Whoever waits for a process that is gone is told of sockets, in words of the library below.
    """
    network = isinstance(error, dist.DistBackendError | dist.DistNetworkError)
    if not network and not (isinstance(error, RuntimeError) and "gloo/" in str(error)):
        return None
    return CdmlLabError(
        "another process of this training ended or cannot be reached: what it printed says why; "
        "--resume goes on from the newest checkpoint"
    )


@contextmanager
def place(device: str) -> Iterator[Place]:
    """Join the others if torchrun started this process; leave them in the end."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Place(torch.device(device))
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    own = torch.device("cuda", local) if device == "cuda" else torch.device("cpu")
    if own.type == "cuda":
        torch.cuda.set_device(own)
    begun_here = not dist.is_initialized()
    if begun_here:
        dist.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield Place(own, dist.get_rank(), world_size)
    finally:
        if begun_here:
            dist.destroy_process_group()
