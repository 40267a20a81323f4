"""Measure how fast a config trains on this machine, by half a minute of real training."""

import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from cdmllab.data.decode import decode, encode_jpeg
from cdmllab.data.sets import TrainingSet
from cdmllab.errors import CdmlLabError
from cdmllab.faces import FaceWorld
from cdmllab.runs import Run
from cdmllab.training import step_metrics
from cdmllab.training.config import Config
from cdmllab.training.distributed import Place
from cdmllab.training.entry import build_head, prepare
from cdmllab.training.loop import Trainer

WARM_UP_STEPS = 3  # the first steps allocate memory, choose algorithms and compile
_DRAWN = 16  # distinct faces of a stand-in
_JUDGED = 64  # images per batch in evaluation mode


class Probe(NamedTuple):
    """Speed and memory of a training."""

    images_per_s: float  # training, including the loading of images
    judged_per_s: float  # images per second through the network in evaluation mode
    data_wait: float  # share of time spent waiting for the loader, 0 to 1
    peak_mib: float  # memory of the CUDA device, or of this process
    steps: int  # number of timed steps


class StandIn:
    """A training set of any size that repeats a few faces of the face lab.

    It keeps the loader as busy as the real set, which may not be downloaded or rendered yet.

    Parameters
    ----------
    encoded : decode JPEGs at each read, like a pack; otherwise keep pixels, like a world of the
        face lab
    """

    def __init__(
        self, images: int, identities: int, size: int, channels: int = 3, *, encoded: bool = True
    ) -> None:
        self.num_identities = identities
        self.labels: NDArray[np.int64] = np.arange(images, dtype=np.int64) % identities
        self._drawn = FaceWorld(_DRAWN, 1, size=size).read(np.arange(_DRAWN))[..., :channels]
        self._jpegs = [encode_jpeg(face) for face in self._drawn] if encoded else []
        self._colour: Any = "RGB" if channels == 3 else "GRAY"

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """Read images: uint8 of shape (rows, size, size, channels)."""
        some = np.asarray(rows, dtype=np.int64) % _DRAWN  # which of the faces
        if not self._jpegs:
            kept: NDArray[np.uint8] = self._drawn[some]
            return kept
        return np.stack(
            [decode(self._jpegs[k], f"face {k}", colour=self._colour) for k in some.tolist()]
        )


def probe(config: Config, source: TrainingSet, seconds: float = 30.0) -> Probe:
    """Train for about `seconds` and discard the result.

    Parameters
    ----------
    config : of the training; its number of epochs does not matter
    source : its data, or a `StandIn` of the same size
    seconds : of timed steps; the last step may exceed them

    Raises
    ------
    CdmlLabError : the training does not fit into the device's memory
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    here = Place(torch.device(config.device))
    try:
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
            return _timed(config, source, Run(Path(folder)), here, seconds)
    except torch.cuda.OutOfMemoryError as error:
        raise CdmlLabError(
            f"this training's batches of {config.batch_size} do not fit into the memory of "
            f"{here.device}: "
            "a smaller batch_size with accumulate, or speed.checkpointing, needs less"
        ) from error
    finally:
        torch.set_num_threads(threads)


def _timed(config: Config, source: TrainingSet, run: Run, here: Place, seconds: float) -> Probe:
    torch.manual_seed(config.seed)
    net = config.backbone.build().to(here.device)
    backbone = net.speed_up(**config.in_precision(config.speed.on(here.device)).speed.model_dump())
    head: Any = build_head(config, source)
    trainer = Trainer(run, config, source, backbone, head.to(here.device), prepare(backbone), here)
    backbone.train()
    head.train()
    began = since = perf_counter()
    timed = 0
    for number, _ in enumerate(trainer.go(), start=1):
        _finish(here)
        now = perf_counter()
        # The clock starts again after the warm-up, unless the time is over already.
        if number == WARM_UP_STEPS and now - began < seconds:
            since = now
            trainer.clock.reset()
            continue
        # Without a new start of the clock the warm-up steps count as well.
        timed = number if since == began else number - WARM_UP_STEPS
        if now - since >= seconds:
            break
    passed = max(perf_counter() - since, 1e-9)
    look = trainer.clock.look()
    peak = step_metrics.peak_mib(here.device)
    return Probe(
        timed * trainer.effective_batch / passed,
        _judging(trainer, here),
        look["data_wait"],
        peak,
        timed,
    )


def _judging(trainer: Trainer, here: Place) -> float:
    """Images per second through the network in evaluation mode."""
    size, channels = trainer.backbone.size, trainer.backbone.channels
    images = torch.zeros((_JUDGED, channels, size, size), dtype=torch.uint8, device=here.device)
    trainer.backbone.eval()
    with torch.no_grad():
        trainer.backbone(trainer.prepare(images))
        _finish(here)
        since, rounds = perf_counter(), 0
        while rounds < 2 or perf_counter() - since < 1.0:
            trainer.backbone(trainer.prepare(images))
            _finish(here)
            rounds += 1
    return rounds * _JUDGED / (perf_counter() - since)


def _finish(here: Place) -> None:
    """Wait for the GPU, which runs asynchronously."""
    if here.device.type == "cuda":
        torch.cuda.synchronize(here.device)
