"""A training of a sweep, independent of the others and of the machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from cdmllab import training
from cdmllab.evaluate import cached
from cdmllab.preprocessing import standard
from cdmllab.runs import Run
from cdmllab.sweeps.spec import ExportKind
from cdmllab.training import Config
from cdmllab.training.earlier import OtherDataError
from cdmllab.training.holding import LOCK


class Task(NamedTuple):
    """A training, and how its network is evaluated and exported."""

    stage: str
    arm: str
    point: dict[str, Any]  # of the grid
    seed: int
    config: dict[str, Any]  # flat
    protocols: tuple[str, ...] = ()
    flip: bool = False
    export: tuple[ExportKind, ...] = ()
    world: int = 0  # of the face lab's protocols

    @property
    def name(self) -> str:
        """Such as ``compare/cdml/s3``, and with a grid ``tune/cdml/loss.scale=16/s0``."""
        at = ",".join(f"{key}={value}" for key, value in self.point.items())
        return "/".join(part for part in (self.stage, self.arm, at, f"s{self.seed}") if part)


class Outcome(NamedTuple):
    """The files of a finished task."""

    run: str  # the run's folder
    evaluations: dict[str, str]  # by protocol, the path of the evaluation's .json
    exports: dict[str, str]  # by format, the path of the model


def carry_out(
    task: Task, within: Path | None = None, report: Callable[[str], None] | None = None
) -> Outcome:
    """Train, evaluate and export; finished steps are skipped and an interrupted run continues.

    If its data has changed since, a new run is started.
    """
    config = Config.parse(task.config)
    # Train, or continue where an earlier attempt stopped.
    interrupted = _unfinished(config, within)
    try:
        trained = (
            training.resume(interrupted.folder, report)
            if interrupted
            else training.train(config, within=within, report=report)
        )
    except OtherDataError as error:
        if report is not None:
            report(f"{error}. Starting a new run")
        trained = training.train(config, within=within, report=report)
    folder = trained.run.folder
    # No bootstrap, since sweeps compare arms by the spread over seeds.
    settings = cached.Settings(flip=task.flip, replicates=0, world=task.world)
    evaluations, backbone = {}, trained.backbone.to(config.device)
    for name in task.protocols:
        done, _, _ = cached.evaluate(
            backbone,
            name,
            folder / "eval",
            settings,
            prepare=standard(backbone.channels, backbone.size),
        )
        evaluations[name] = str(folder / "eval" / f"{done.name}.json")
    return Outcome(
        str(folder), evaluations, {kind: str(_export(folder, kind, report)) for kind in task.export}
    )


def _unfinished(config: Config, within: Path | None) -> Run | None:
    """The newest unfinished run of this config that nobody works in, unless one is finished."""
    flat = config.flat()
    if next(Run.finished(flat, within=within, report=_quietly), None) is not None:
        return None
    for run in reversed(list(Run.list(within, _quietly))):
        if run.has(flat) and _free(run):
            return run
    return None


def _quietly(sentence: str) -> None:
    """Discard a message about a folder that is not a run; the training reports it."""


def _free(run: Run) -> bool:
    lock = FileLock(run.folder / LOCK)
    try:
        # A lock that can be taken means that nobody works in the run.
        with lock.acquire(timeout=0):
            return True
    except Timeout:
        return False


def _export(folder: Path, kind: ExportKind, report: Callable[[str], None] | None) -> Path:
    from cdmllab.export import convert

    to: convert.Kind = "openvino" if kind == "openvino" else "onnx"
    int8 = kind == "onnx-int8"
    target = convert.destination(folder, to, int8=int8)
    # An earlier attempt may have exported it already.
    if not target.is_file():
        convert.export(folder, to, int8=int8, report=report or (lambda _: None))
    return target
