"""Record a training: metrics, validation, comparison with known difficulty, checkpoints."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from torch import Tensor

from cdmllab import evaluate
from cdmllab.data.loaders import ImageBatch
from cdmllab.errors import optional
from cdmllab.evaluate.full import quick_measures
from cdmllab.heads import HeadOutput
from cdmllab.runs import Run
from cdmllab.training import checkpoint, step_metrics
from cdmllab.training.difficulty_probe import Truth
from cdmllab.training.loop import Trainer

Report = Callable[[str], None]
Progress = Callable[[int, int, str], None]
"""Called with the steps done, the number of all steps, and a line of log."""


class Recorder:
    """Records the steps of a trainer as `config.watch` asks; only the first process writes.

    Parameters
    ----------
    run, trainer : the run's folder and the training
    report : called with lines of log
    progress : called whenever metrics are written; None logs a line instead
    """

    def __init__(
        self, run: Run, trainer: Trainer, report: Report, progress: Progress | None = None
    ) -> None:
        self.run, self.trainer, self.report = run, trainer, report
        self.progress = progress or (lambda _, __, line: report(line))
        self.watch, self.first = trainer.config.watch, trainer.place.first
        self._board = _board(run) if self.watch.tensorboard and self.first else None
        self._truth = (
            Truth(trainer.loader.source, trainer.prepare) if self.watch.truth_every else None
        )
        self._started, self._from = perf_counter(), trainer.step  # for the time left

    def step(self, batch: ImageBatch, out: HeadOutput, embeddings: Tensor) -> None:
        """Record whatever is due after a step."""
        at, last = self.trainer.steps_taken, self.trainer.step == self.trainer.steps
        # The first step too, so that there is something to see at once.
        if at % self.watch.log_every == 0 or last or at == 1:
            self._metrics(batch, out, embeddings)
        if (
            self.watch.validate_every
            and (at % self.watch.validate_every == 0 or last)
            and self.first
        ):
            self._validate()
        if (
            self._truth is not None
            and (at % (self.watch.truth_every or 1) == 0 or last or at == 1)
            and self.first
        ):
            self._look(self._truth)
        # After the last step the released network takes the place of checkpoints.
        if at % self.watch.checkpoint_every == 0 and not last:
            checkpoint.save(self.run.folder, at, self.trainer.state(), self.watch.keep)

    def close(self) -> None:
        """Close the files after the last step."""
        if self._board is not None:
            self._board.close()

    def _metrics(self, batch: ImageBatch, out: HeadOutput, embeddings: Tensor) -> None:
        t = self.trainer
        nearest = t.head.nearest(embeddings)  # a collective call: every rank takes part
        values = {
            "step": t.steps_taken,
            # `t.step` is already that of the next step.
            "epoch": (t.step - 1) // t.steps_an_epoch,
            "lr": t.optimiser.param_groups[0]["lr"],
            **step_metrics.measures(out, embeddings, nearest, batch.labels),
            **({} if t.gradient_norm is None else {"gradient_norm": t.gradient_norm}),
            **t.clock.look(),
            "peak_mib": step_metrics.peak_mib(t.place.device),
        }
        if self.first:
            self.run.log(**values)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, t.steps_taken)
        # From the mean time of the steps of this process, also in a resumed run.
        left = (perf_counter() - self._started) / (t.step - self._from) * (t.steps - t.step)
        step, steps = t.steps_taken, t.total_steps
        line = f"step {step:,} of {steps:,}  loss {values['loss']:.3f}  {left:.0f} s left"
        self.progress(step, steps, line)

    def _validate(self) -> None:
        """Log accuracy, if there are folds, and AUC on the protocols of the config."""
        t = self.trainer
        values: dict[str, float] = {"step": t.steps_taken}
        with t.evaluation_mode():
            for name in self.watch.protocols:
                protocol = evaluate.protocols.load(name, t.backbone.size)
                embeddings = evaluate.embed(t.backbone, protocol.images, prepare=t.prepare)
                of_protocol = quick_measures(embeddings.numpy(), protocol)
                values |= {f"{name}/{measure}": v for measure, v in of_protocol.items()}
                accuracy = ""
                if "accuracy" in of_protocol:
                    accuracy = f"accuracy {100 * of_protocol['accuracy']:.2f} %, "
                self.report(
                    f"step {t.steps_taken:,}  {name}: {accuracy}AUC {of_protocol['auc']:.4f}"
                )
        self.run.log(**values)

    def _look(self, truth: Truth) -> None:
        t = self.trainer
        with t.evaluation_mode():
            self.run.log(step=t.steps_taken, **truth.look(t.backbone, t.head))


def _board(run: Run) -> Any:
    with optional("tensorboard", "watch.tensorboard"):
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(run.folder / "tensorboard"))
