"""A sweep in motion: its stages one after the other, every task's state on the disk."""

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import ConfigDict, TypeAdapter, ValidationError

from cdmllab._util.files import read_bytes, write_text
from cdmllab._util.processes import GUARD, refuse_while_imported
from cdmllab.errors import CdmlLabError, DataError, cause
from cdmllab.evaluate import Measures
from cdmllab.runs import Run, root
from cdmllab.sweeps import engines, expand
from cdmllab.sweeps.engines import Engine
from cdmllab.sweeps.expand import Done
from cdmllab.sweeps.spec import Spec
from cdmllab.sweeps.task import Outcome, Task
from cdmllab.training import Config, datasets, earlier, inputs, yaml_header
from cdmllab.training.config import DataConfig

State = Literal["waiting", "running", "finished", "failed"]
_STATES = "states.json"


@dataclass(frozen=True)
class TaskState:
    """A line of the table of states."""

    task: str
    state: State
    attempts: int = 0
    seconds: float | None = None
    run: str | None = None
    evaluations: dict[str, str] = field(default_factory=dict)
    exports: dict[str, str] = field(default_factory=dict)
    error: str | None = None


_ROWS = TypeAdapter(list[TaskState], config=ConfigDict(strict=True))


class Sweep:
    """A spec, and what has become of it in a folder of runs.

    Parameters
    ----------
    spec : see `cdmllab.sweeps.load`
    within : the folder of runs; default `cdmllab.runs.root()`. The states are kept in its
        ``sweeps/<name>``
    """

    def __init__(self, spec: Spec, within: Path | None = None) -> None:
        self.spec, self.within = spec, within
        self.folder = (within or root()) / "sweeps" / spec.name
        self._rows = self._read()
        self._today: dict[str, dict[str, Any]] = {}  # fingerprints of data, each made once

    def rows(self) -> list[TaskState]:
        """Every task that is known by now, in order; tasks of later stages are known when their
        stage begins.
        """
        return list(self._rows.values())

    def run(
        self, engine: Engine, tell: Callable[[str], None] = lambda _: None
    ) -> dict[str, list[Done]]:
        """Do what is not done yet; by stage, what is finished.

        A task whose process dies is begun again as often as the spec says; one that fails by itself
        is not, for it would fail again. The others go on, and the next stage waits until the failed
        ones are mended.

        Raises
        ------
        CdmlLabError : data is missing, another sweep works in this folder, or tasks failed; the
            first is named
        """
        refuse_while_imported("Sweep.run")
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock").acquire(timeout=0):
                return self._stages(engine, tell)
        except Timeout:
            raise CdmlLabError(
                f"another process runs this sweep in {self.folder}: wait for it to end"
            ) from None

    def _stages(self, engine: Engine, tell: Callable[[str], None]) -> dict[str, list[Done]]:
        self._today.clear()
        # Whoever was running when the sweep was killed is begun again; with the lock held nobody is
        # running now.
        for row in self._read().values():
            self._rows[row.task] = (
                replace(row, state="waiting", attempts=0) if row.state == "running" else row
            )
        done: dict[str, list[Done]] = {}
        for name in self.spec.stages:
            tasks = expand.tasks(self.spec, name, done)
            left = [task for task in tasks if not self._is_done(task)]
            for task in left:
                self._rows[task.name] = TaskState(task.name, "waiting")
            tell(f"stage {name}: {len(tasks)} trainings, {len(tasks) - len(left)} of them done")
            self._prepare(left, tell)
            self._work(left, engine, tell)
            failed = [task for task in left if self._rows[task.name].state == "failed"]
            if failed:
                raise CdmlLabError(
                    f"stage {name}: {len(failed)} of {len(tasks)} trainings failed, the first is "
                    f"{failed[0].name}: "
                    f"{self._rows[failed[0].name].error}; the same command goes on when that is "
                    f"mended"
                )
            done[name] = [self._done(task) for task in tasks]
        return done

    def _prepare(self, tasks: list[Task], tell: Callable[[str], None]) -> None:
        """Find what data is missing before any work, and render worlds once for all."""
        wanted: list[tuple[str, dict[str, Any]]] = []
        for task in tasks:
            data = DataConfig.model_validate(task.config["data"])
            if (data.name, data.options) not in wanted:
                wanted.append((data.name, data.options))
        for name, options in wanted:
            if missing := datasets.missing(name, options):
                raise CdmlLabError(missing)
        for name, options in wanted:
            tell(f"data: {datasets.load(name, options)!r}")

    def _work(self, left: list[Task], engine: Engine, tell: Callable[[str], None]) -> None:
        queue, total = list(reversed(left)), len(left)
        running: dict[Future[Outcome], tuple[Task, float]] = {}
        while queue or running:
            while queue and len(running) < engine.room:
                task = queue.pop()
                attempts = self._rows[task.name].attempts + 1
                self._set(TaskState(task.name, "running", attempts))
                running[engine.submit(task)] = task, time.perf_counter()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, begun = running.pop(future)
                row = self._ended(task, future, time.perf_counter() - begun)
                self._set(row)
                if row.state == "waiting":
                    queue.append(task)
                ended = sum(self._rows[task.name].state in ("finished", "failed") for task in left)
                tell(f"[{ended}/{total}] {line(row)}")

    def _ended(self, task: Task, future: "Future[Outcome]", seconds: float) -> TaskState:
        attempts = self._rows[task.name].attempts
        error = future.exception()
        if error is None:
            said = future.result()
            return TaskState(
                task.name,
                "finished",
                attempts,
                round(seconds, 1),
                said.run,
                said.evaluations,
                said.exports,
            )
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        if isinstance(error, BrokenProcessPool):
            told = (
                f"its process was killed, or the memory did not suffice; if a script runs the "
                f"sweep, {GUARD}"
            )
        again = engines.died(error) and attempts <= self.spec.retries
        return TaskState(
            task.name, "waiting" if again else "failed", attempts, round(seconds, 1), error=told
        )

    def _is_done(self, task: Task) -> bool:
        row = self._rows.get(task.name)
        if row is None or row.state != "finished" or row.run is None:
            return False
        if not set(task.protocols) <= set(row.evaluations) or not set(task.export) <= set(
            row.exports
        ):
            return False
        if not all(
            Path(path).is_file() for path in (*row.evaluations.values(), *row.exports.values())
        ):
            return False
        try:
            if any(one.flip is not task.flip for one in evaluated(row).values()):
                return False
            run = Run.open(row.run)
            return (
                run.status == "finished"
                and run.config == task.config
                and not self._is_stale(run, task)
            )
        except (ValueError, KeyError):
            return False

    def _is_stale(self, run: Run, task: Task) -> bool:
        """Whether the data of a finished run has changed since; what cannot be compared has not."""
        key = json.dumps([task.config["data"], task.config["start_from"]])
        if key not in self._today:
            try:
                self._today[key] = earlier.today(Config.parse(task.config))
            except (DataError, OSError):
                self._today[key] = {}
        return bool(inputs.difference(run.record.get("data", {}), self._today[key]))

    def _done(self, task: Task) -> Done:
        row = self._rows[task.name]
        evaluations = evaluated(row)
        folds = {
            name: list(one.accuracy.per_fold)
            for name, one in evaluations.items()
            if one.accuracy is not None
        }
        compared = {name: measures(one) for name, one in evaluations.items()}
        return Done(task, str(row.run), compared, folds)

    def _set(self, row: TaskState) -> None:
        self._rows[row.task] = row
        text = json.dumps([asdict(one) for one in self._rows.values()], indent=1)
        write_text(self.folder / _STATES, text + "\n")

    def _read(self) -> dict[str, TaskState]:
        path = self.folder / _STATES
        if not path.is_file():
            return {}
        try:
            rows = _ROWS.validate_json(read_bytes(path, "readable JSON"))
        except ValueError as error:
            said = (
                yaml_header.complaint(error, "it")
                if isinstance(error, ValidationError)
                else cause(error)
            )
            raise CdmlLabError(
                f"{path} cannot be read ({said}): remove it; finished runs are found again"
            ) from None
        return {row.task: row for row in rows}


def evaluated(row: TaskState) -> dict[str, Measures]:
    """The evaluations of a finished task, by protocol."""
    return {name: Measures.read(path) for name, path in row.evaluations.items()}


def measures(evaluation: Measures) -> dict[str, float]:
    """The measures by which arms are compared, by name."""
    values = {"auc": evaluation.auc.value, "eer": evaluation.eer.value}
    if evaluation.accuracy is not None:
        values["accuracy"] = evaluation.accuracy.value
    for at in evaluation.tar_at_far:
        if at.far in (1e-3, 1e-4) and at.value is not None:
            values[f"tar@1e-{round(-math.log10(at.far))}"] = at.value
    return values


def line(row: TaskState) -> str:
    """A row in a line of text."""
    told = [f"{row.task:44} {row.state}"]
    if row.seconds is not None:
        told.append(f"{row.seconds:7.1f} s")
    for name, path in row.evaluations.items():
        if not Path(path).is_file():
            told.append(f"{name}: {path} is gone")
            continue
        found = measures(Measures.read(path))
        told.append(f"{name} {100 * found.get('accuracy', found['auc']):.2f} %")
    if row.attempts > 1:
        told.append(f"attempt {row.attempts}")
    if row.error:
        told.append(row.error)
    return "  ".join(told)
