"""The training loop: the state that changes from step to step, and the step itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from cdmllab.backbones import Backbone
from cdmllab.data.loaders import ImageBatch, Loader
from cdmllab.data.sets import TrainingSet
from cdmllab.errors import reading
from cdmllab.heads import Head, HeadOutput, momenta, sharded_state_dict
from cdmllab.runs import Run
from cdmllab.training import datasets, divergence, step_metrics
from cdmllab.training.config import Config
from cdmllab.training.distributed import Place
from cdmllab.training.schedule import learning_rate

Prepare = Callable[[Tensor], Tensor]
AtEpoch = Callable[[int, Backbone, Head], None]
"""Called with the number of epochs done, the network and the head."""


class Trainer:
    """The network, the head, the optimiser and the data of a run, at some step.

    Parameters
    ----------
    run, config : the run's folder and config
    source : the training set
    backbone, head : new ones, on the device
    prepare : from uint8 images to the network's input
    place : of this process
    """

    def __init__(
        self, run: Run, config: Config, source: TrainingSet, backbone: Backbone, head: Head,
        prepare: Prepare, place: Place,
    ) -> None:  # fmt: skip
        self.run, self.config, self.place, self.prepare = run, config, place, prepare
        self.backbone, self.head = backbone, head
        self.network: nn.Module = place.wrap(backbone)  # averages gradients over processes
        self.loader = Loader(
            source,
            config.batch_size,
            seed=config.seed,
            workers=config.data.workers,
            augmentation=config.data.augmentation,
            device=place.device,
            per_identity=config.data.per_identity,
            rank=place.rank,
            world_size=place.world_size,
        )
        # An oracle margin needs the true easiness of every image.
        self._known_easiness = None
        if config.loss.options.get("easiness") == "known":
            self._known_easiness = datasets.known_easiness(source).to(place.device)
        # Batches that do not fill a step at the end of an epoch are dropped.
        self.steps_an_epoch = len(self.loader) // config.accumulate
        if self.steps_an_epoch == 0:
            raise ValueError(
                f"an epoch has {len(self.loader)} batches, but one step accumulates "
                f"{config.accumulate}"
            )
        self.steps = config.epochs * self.steps_an_epoch
        self.effective_batch = config.batch_size * config.accumulate * place.world_size
        o = config.optimiser
        self.optimiser = SGD(
            self.parameters().values(), lr=o.lr, momentum=o.momentum, weight_decay=o.weight_decay
        )
        # Small gradients vanish in float16 unless the loss is scaled up; otherwise it is disabled.
        self.scaler = torch.amp.GradScaler(
            place.device.type, enabled=config.speed.precision == "float16"
        )
        self.step, self._offset = 0, 0  # `_offset`: see `steps_taken`
        self.gradient_norm: float | None = None
        self.clock = step_metrics.Clock()
        # The start of this process's training, and the seconds of training before it.
        self._began, self._before = perf_counter(), 0.0

    def parameters(self) -> dict[str, nn.Parameter]:
        """All parameters by name."""
        parts = {"backbone": self.backbone, "head": self.head}
        return {
            f"{part}.{name}": p
            for part, module in parts.items()
            for name, p in module.named_parameters()
        }

    @property
    def epoch(self) -> int:
        """The current epoch, counted from 0."""
        return self.step // self.steps_an_epoch

    @property
    def steps_taken(self) -> int:
        """The number of optimiser steps taken, which names metrics and checkpoints.

        It never decreases. It differs from `step`, which drives the schedule, once a run has been
        resumed on another number of ranks.
        """
        return self.step + self._offset

    @property
    def total_steps(self) -> int:
        """The value of `steps_taken` at the end."""
        return self.steps + self._offset

    def seconds(self) -> float:
        """Seconds of training so far, including those before the run was resumed."""
        return self._before + perf_counter() - self._began

    def lr(self) -> float:
        """The learning rate of the next step."""
        return learning_rate(
            self.config.optimiser,
            self.step,
            self.steps_an_epoch,
            self.config.epochs,
            self.effective_batch,
        )

    def go(self) -> Iterator[tuple[ImageBatch, HeadOutput, Tensor]]:
        """Train to the end; yield the last batch of each step, the head's output and embeddings."""
        # An iteration over the loader is the rest of an epoch.
        while self.step < self.steps:
            waiting: list[ImageBatch] = []
            start = perf_counter()
            for batch in self.loader:
                self.clock.waited(perf_counter() - start, len(batch.labels))
                waiting.append(batch)
                if len(waiting) == self.config.accumulate:
                    yield self._step(waiting)
                    waiting = []
                    # Without reading batches that would be dropped.
                    if self.step == self.steps:
                        return
                start = perf_counter()

    def _step(self, batches: list[ImageBatch]) -> tuple[ImageBatch, HeadOutput, Tensor]:
        # The schedules of the learning rate and of the loss follow the step alone.
        lr = self.lr()
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.head.set_progress(self.step / self.steps)
        for number, batch in enumerate(batches, start=1):
            last = number == len(batches)
            # The processes exchange gradients once in each step, with its last batch.
            with nullcontext() if last else self.place.no_sync(self.network):
                embeddings = self.network(self.prepare(batch.images))  # [b, d]
                out = self._loss(batch, embeddings)
                # The mean over the accumulated batches.
                self.scaler.scale(out.loss / len(batches)).backward()
            # Checked after the backward pass was launched, so that a GPU keeps working while the
            # result is copied to the host.
            if not torch.isfinite(out.loss):
                raise self._diverged(f"the loss is {float(out.loss)}", batch, embeddings)
        if self.config.optimiser.clip_norm is not None:
            # The norm is that of the true gradients, without float16's scale.
            self.scaler.unscale_(self.optimiser)
            self.gradient_norm = self._clip(self.config.optimiser.clip_norm)
        # Skips the step, and then lowers the scale, if a float16 gradient has overflowed.
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad()
        self.step += 1
        return batch, out, embeddings

    def _loss(self, batch: ImageBatch, embeddings: Tensor) -> HeadOutput:
        truth = {}
        if self._known_easiness is not None:
            truth["known_easiness"] = self._known_easiness[batch.rows]
        try:
            out: HeadOutput = self.head(embeddings, batch.labels, **truth)
        except ValueError:  # the head checks every embedding and centre; find out which it was
            if not torch.isfinite(embeddings).all():
                raise self._diverged("an embedding is not finite", batch, embeddings) from None
            if not all(bool(torch.isfinite(p).all()) for p in self.head.parameters()):
                raise self._diverged("a class centre is not finite", batch, embeddings) from None
            raise
        return out

    def _clip(self, limit: float) -> float:
        """Clip the norm of the gradient of all parameters on all ranks; return the norm before."""
        parameters = [p for p in self.parameters().values() if p.grad is not None]
        shards = list(self.head.sharded_parameters().values())
        # Compared by identity: `in` would compare the values of tensors.
        replicated = [
            p.grad for p in parameters if p.grad is not None and all(p is not s for s in shards)
        ]
        # Every rank knows the norm of the replicated gradients; that of the shards needs all.
        total = nn.utils.get_total_norm(replicated)
        if shards:
            gradients = [self.head.global_view(p.grad) for p in shards if p.grad is not None]
            parts: Any = nn.utils.get_total_norm(gradients)
            total = torch.hypot(total, parts.full_tensor() if self.place.world_size > 1 else parts)
        nn.utils.clip_grads_with_norm_(parameters, limit, total)
        return float(total)

    def _diverged(self, problem: str, batch: ImageBatch, embeddings: Tensor) -> Exception:
        return divergence.stop(
            self.run.folder,
            problem,
            step=self.steps_taken,
            epoch=self.epoch,
            lr=self.lr(),
            precision=self.config.speed.precision,
            rows=batch.rows,
            embeddings=embeddings,
            parameters=self.parameters(),
            images=batch.images,
            gradient_norm=self.gradient_norm,
        )

    @contextmanager
    def evaluation_mode(self) -> Iterator[None]:
        """Put the network in evaluation mode for a block, without any effect on the training."""
        # Evaluation may draw random numbers, which must not change the training.
        random = torch.get_rng_state()
        self.backbone.eval()
        self.head.eval()
        try:
            yield
        finally:
            self.backbone.train()
            self.head.train()
            torch.set_rng_state(random)

    def show(self, at_epoch: AtEpoch) -> None:
        """Call `at_epoch` within `evaluation_mode`."""
        with self.evaluation_mode():
            at_epoch(self.epoch, self.backbone, self.head)

    def state(self) -> dict[str, Any]:
        """Everything the next step depends on.

        The tensors are the live ones, so that loading a checkpoint fills them in place.
        """
        return {
            "backbone": self.backbone.state_dict(),
            "head": sharded_state_dict(self.head, self.optimiser),
            "momentum": dict(momenta(self.backbone, self.optimiser)),
            "scaler": self.scaler.state_dict(),
            "loader": self.loader.state_dict(),
            "random": {"cpu": torch.get_rng_state(), **self.place.random_state()},
            "seconds": self.seconds(),
        }

    def restore(self, state: dict[str, Any], steps_taken: int) -> None:
        """Continue from a `state` that a checkpoint has filled, after `steps_taken` steps.

        Raises
        ------
        DataError : the state is of another training, or invalid
        """
        with reading(self.run.folder, "a run with a usable checkpoint"):
            self.backbone.load_state_dict(state["backbone"])
            self.scaler.load_state_dict(state["scaler"])
            self.loader.load_state_dict(state["loader"])
            torch.set_rng_state(state["random"]["cpu"])
            self.place.set_random_state(state["random"])
            # With another number of ranks an epoch has another number of steps: count the steps
            # that are left in it from its end.
            self.step = (
                self.loader.epoch + 1
            ) * self.steps_an_epoch - self.loader.left // self.config.accumulate
            if not 0 <= self.step <= self.steps:
                raise ValueError(f"it is at step {self.step:,} of {self.steps:,}")
            self._before = max(0.0, float(state["seconds"]))
        # So that `steps_taken` continues from the number of the checkpoint.
        self._offset = steps_taken - self.step
        self.clock.reset()
        self._began = perf_counter()
