"""One training of a sweep: done by itself, anywhere, and done once."""

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
    """What is trained, and what is done with the network then."""

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
        """As ``compare/cdml/s3``, and with a grid ``tune/cdml/loss.scale=16/s0``."""
        at = ",".join(f"{key}={value}" for key, value in self.point.items())
        return "/".join(part for part in (self.stage, self.arm, at, f"s{self.seed}") if part)


class Outcome(NamedTuple):
    """What a task leaves."""

    run: str  # the run's folder
    evaluations: dict[str, str]  # by protocol, the path of the evaluation's .json
    exports: dict[str, str]  # by format, the path of the model


def carry_out(
    task: Task, within: Path | None = None, tell: Callable[[str], None] | None = None
) -> Outcome:
    """Train, judge and export, skipping what is done; a run that stopped goes on, on the
    same data.
    """
    config = Config.parse(task.config)
    begun = _unfinished(config, within)
    try:
        trained = (
            training.resume(begun.folder, tell)
            if begun
            else training.train(config, within=within, tell=tell)
        )
    except OtherDataError as error:
        if tell is not None:
            tell(f"{error}. A new run is made")
        trained = training.train(config, within=within, tell=tell)
    folder = trained.run.folder
    settings = cached.Settings(
        flip=task.flip, replicates=0, world=task.world
    )  # the spread over seeds is what counts here
    evaluations, backbone = {}, trained.backbone.to(config.device)
    for name in task.protocols:
        done, _, _ = cached.judge(
            backbone,
            name,
            folder / "eval",
            settings,
            prepare=standard(backbone.channels, backbone.size),
        )
        evaluations[name] = str(folder / "eval" / f"{done.name}.json")
    return Outcome(
        str(folder), evaluations, {kind: str(_export(folder, kind, tell)) for kind in task.export}
    )


def _unfinished(config: Config, within: Path | None) -> Run | None:
    """The newest run of this config that stopped on its way, unless a finished one is there or
    somebody works in it.
    """
    wanted = config.flat()
    if next(Run.finished(wanted, within=within, tell=_quietly), None) is not None:
        return None
    for run in reversed(list(Run.list(within, _quietly))):
        if run.config == wanted and _free(run):
            return run
    return None


def _quietly(sentence: str) -> None:
    """What is no run is told by the training."""


def _free(run: Run) -> bool:
    lock = FileLock(run.folder / LOCK)
    try:
        with lock.acquire(timeout=0):
            return True
    except Timeout:
        return False


def _export(folder: Path, kind: ExportKind, tell: Callable[[str], None] | None) -> Path:
    from cdmllab.export import convert

    to: convert.Kind = "openvino" if kind == "openvino" else "onnx"
    int8 = kind == "onnx-int8"
    target = convert.destination(folder, to, int8=int8)
    if not target.is_file():
        convert.export(folder, to, int8=int8, tell=tell or (lambda _: None))
    return target
