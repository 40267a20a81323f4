"""Batches of a training set, in a seeded order that is the same for any number of workers."""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdmllab.data import transforms
from cdmllab.data.decode import decode_batch_cuda, other_size
from cdmllab.data.sets import TrainingSet, checked, occurrence
from cdmllab.data.transforms import Augmentation

Key = tuple[int, ...]  # seed, epoch, position in the epoch, rank
AHEAD = 2  # batches that each worker may have ready


class ImageBatch(NamedTuple):
    """Images with their identities."""

    images: Tensor  # [b, 1 or 3, height, width] uint8
    labels: Tensor  # [b] int64
    rows: Tensor  # [b] int64, rows of the training set


class Loader:
    """Iterate over the batches of a training set.

    An iteration gives the rest of an epoch, and the next iteration the next epoch.

    Decoding and augmentation run in threads, because decoders release Python's lock. The order and
    the augmentation depend only on seed, epoch and position in the epoch. Images that do not fill a
    last batch are left out of that epoch. A loader can be resumed at every batch.

    Parameters
    ----------
    source : what to read
    batch_size : images per batch, on each process
    seed : of order and augmentation
    workers : threads; 0 reads in the calling thread
    augmentation : ``"none"``, ``"flip"``, ``"datn_page"``, or an `Augmentation`
    device : of the batches; on any but the CPU they are augmented there, a batch at a time
    num_identities : that a config expects; labels are checked against it
    per_identity : maximum number of images of each identity per epoch, drawn anew every epoch
    rank, world_size : this process, and the number of processes; they share out one order
    shuffle : ``False`` keeps the order of the set
    nvjpeg : decode a batch at a time on the GPU, in colour, from a source that has its images as
        JPEG (`Pack`); the pixels differ from the CPU's by a few grey levels. For your own
        loops: no config uses it

    Raises
    ------
    DataError : a label is out of range, or the images of a batch differ in size
    ValueError : an option is out of range, or there are fewer images than one batch needs

    Examples
    --------
    >>> from cdmllab.data.sets import ArraySet
    >>> source = ArraySet(np.zeros((6, 8, 8, 1), np.uint8), np.array([0, 0, 1, 1, 2, 2]), 3)
    >>> for batch in Loader(source, batch_size=2, seed=0):
    ...     print(batch.images.shape, batch.labels.shape)
    torch.Size([2, 1, 8, 8]) torch.Size([2])
    torch.Size([2, 1, 8, 8]) torch.Size([2])
    torch.Size([2, 1, 8, 8]) torch.Size([2])
    """

    def __init__(
        self,
        source: TrainingSet,
        batch_size: int,
        *,
        seed: int = 0,
        workers: int = 0,
        augmentation: str | Augmentation = "none",
        device: torch.device | str = "cpu",
        num_identities: int | None = None,
        per_identity: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        nvjpeg: bool = False,
    ) -> None:
        if batch_size < 1 or workers < 0 or (per_identity is not None and per_identity < 1):
            raise ValueError("batch_size and per_identity must be 1 or more, workers 0 or more")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must lie in 0 .. {world_size - 1}, got {rank}")
        if nvjpeg and (torch.device(device).type != "cuda" or not hasattr(source, "image")):
            raise ValueError("nvjpeg needs device='cuda' and a source of JPEGs, such as a Pack")
        if nvjpeg and getattr(source, "colour", "RGB") != "RGB":
            raise ValueError(f"nvjpeg decodes in colour, and {source!r} is read in grey")
        self.nvjpeg = nvjpeg
        self.source, self.batch_size, self.seed, self.workers = source, batch_size, seed, workers
        self.augmentation = transforms.named(augmentation)
        self.device = torch.device(device)
        self.per_identity, self.rank, self.world_size, self.shuffle = (
            per_identity,
            rank,
            world_size,
            shuffle,
        )
        self.labels = torch.from_numpy(
            checked(source.labels, num_identities or source.num_identities, repr(source))
        )
        # Images per epoch; a person with many images counts with at most `per_identity` of them.
        counts = np.bincount(source.labels, minlength=1)
        self.images = int(
            (counts if per_identity is None else np.minimum(counts, per_identity)).sum()
        )
        self.epoch = self.position = 0  # of the next image, counted over all processes
        if len(self) == 0:
            raise ValueError(
                f"{self.images:,} images per epoch do not fill one batch of {batch_size:,} on "
                f"{world_size} processes"
            )

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.images // (self.batch_size * self.world_size)

    @property
    def left(self) -> int:
        """Full batches until the end of the epoch."""
        return (self.images - self.position) // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[ImageBatch]:
        # Each step takes one batch per process from the
        # common order; `mine` are this process's rows.
        order, step = self.order(self.epoch), self.batch_size * self.world_size
        epoch, starts = self.epoch, list(range(self.position, len(order) - step + 1, step))
        mine = [order[s + self.rank * self.batch_size :][: self.batch_size] for s in starts]
        keys: list[Key] = [(self.seed, epoch, s, self.rank) for s in starts]
        for start, key, batch in zip(starts, keys, self._read_ahead(mine, keys), strict=True):
            # Set before the batch is handed out: a checkpoint
            # taken while it is in use names the next one.
            self.epoch, self.position = (
                (epoch + 1, 0) if start == starts[-1] else (epoch, start + step)
            )
            yield self._placed(batch, key)
        # Resumed at the end of an epoch: no full batch of it is left.
        if not starts:
            self.epoch, self.position = epoch + 1, 0

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The rows of an epoch, of all processes, in reading order."""
        if not self.shuffle and self.per_identity is None:
            return np.arange(len(self.source))
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(self.source))
        # Of a random order, keep the first images of each
        # identity: another random choice every epoch.
        if self.per_identity is not None:
            order = order[occurrence(self.source.labels[order]) < self.per_identity]
        return order if self.shuffle else np.sort(order)

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch starts, as plain values; batches read ahead do not count."""
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self.position,
            "images": self.images,
            "per_identity": self.per_identity,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where another loader stopped; batch size, workers and processes may differ.

        Raises
        ------
        ValueError : the state belongs to another seed or training set, or is out of range
        """
        own = self.state_dict()
        for key in ("seed", "images", "per_identity"):
            if state.get(key) != own[key]:
                raise ValueError(
                    f"the state is of a loader with {key} {state.get(key)}, this one has {own[key]}"
                )
        epoch, position = int(state["epoch"]), int(state["position"])
        if epoch < 0 or not 0 <= position <= self.images:
            raise ValueError(
                f"there is no image {position:,} of epoch {epoch:,}: an epoch has {self.images:,}"
            )
        self.epoch, self.position = epoch, position

    def _read_ahead(
        self, batches: list[NDArray[np.int64]], keys: list[Key]
    ) -> Iterator[ImageBatch]:
        if self.workers == 0:
            yield from map(self._read, batches, keys)
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="cdmllab-loader")
        waiting: deque[Future[ImageBatch]] = deque()
        # Keep some batches in work, and hand them out in order, whichever is ready first.
        try:
            for rows, key in zip(batches, keys, strict=True):
                waiting.append(pool.submit(self._read, rows, key))
                if len(waiting) > AHEAD * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        # Also when the consumer stops early or a batch raises.
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, rows: NDArray[np.int64], key: Key) -> ImageBatch:
        chosen = torch.from_numpy(rows)
        if self.nvjpeg:
            jpegs = [self.source.image(row) for row in rows.tolist()]  # type: ignore[attr-defined]
            decoded = decode_batch_cuda(
                jpegs, f"{self.source!r}, rows {rows.tolist()}", self.device
            )
            for row, image in zip(rows.tolist(), decoded, strict=True):
                if image.shape != decoded[0].shape:
                    raise other_size(
                        f"{self.source!r}, row {row}", image.shape[1:], decoded[0].shape[1:]
                    )
            return ImageBatch(torch.stack(decoded), self.labels[chosen], chosen)
        pixels = self.source.read(rows)
        if self.device.type != "cpu":
            raw = torch.from_numpy(pixels)
            return ImageBatch(  # pinned memory can be copied while the GPU works
                raw.pin_memory() if self.device.type == "cuda" else raw, self.labels[chosen], chosen
            )
        images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
        # Key and rows determine the changes, so they do not depend on the thread that reads.
        if self.augmentation != Augmentation():
            images = transforms.apply_each(
                images, transforms.draw(self.augmentation, len(rows), *key)
            )
        return ImageBatch(images, self.labels[chosen], chosen)

    def _placed(self, batch: ImageBatch, key: Key) -> ImageBatch:
        if self.device.type == "cpu":
            return batch
        moved = ImageBatch(*(part.to(self.device, non_blocking=True) for part in batch))
        if (
            not self.nvjpeg
        ):  # moved in the disk's layout, and transposed on the device, where that is fast
            moved = moved._replace(images=moved.images.permute(0, 3, 1, 2).contiguous())
        if self.augmentation == Augmentation():
            return moved
        drawn = transforms.draw(self.augmentation, len(batch.rows), *key)
        return moved._replace(images=transforms.apply_batch(moved.images, drawn))
