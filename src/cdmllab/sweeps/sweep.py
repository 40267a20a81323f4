"""Run a sweep stage by stage, with the state of each task on disk."""

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from filelock import FileLock, Timeout
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from cdmllab._util.files import is_file, read_bytes, write_text
from cdmllab._util.processes import GUARD, refuse_while_imported
from cdmllab.errors import LONGEST, CdmlLabError, DataError, cause, plain
from cdmllab.evaluate import Measures
from cdmllab.runs import Run, root
from cdmllab.sweeps import engines, expand
from cdmllab.sweeps.engines import Engine
from cdmllab.sweeps.expand import Done
from cdmllab.sweeps.spec import Spec
from cdmllab.sweeps.task import Outcome, Task
from cdmllab.training import Config, datasets, earlier, inputs, yaml_header
from cdmllab.training.config_sections import DataConfig

State = Literal["waiting", "running", "finished", "failed"]
_STATES = "states.json"


@dataclass(frozen=True)
class TaskState:
    """The state of a task, a row of ``states.json``."""

    task: str
    state: State
    attempts: Annotated[int, Field(ge=0, lt=2**31)] = 0
    seconds: Annotated[float, Field(ge=0.0, lt=1e12)] | None = None
    run: str | None = None
    evaluations: dict[str, str] = field(default_factory=dict)
    exports: dict[str, str] = field(default_factory=dict)
    error: str | None = None


_ROWS = TypeAdapter(list[TaskState], config=ConfigDict(strict=True))


class Sweep:
    """A spec and its progress in a folder of runs.

    Parameters
    ----------
    spec : see `cdmllab.sweeps.load`
    within : the folder of runs; default `cdmllab.runs.root()`. The states are stored in its
        subfolder ``sweeps/<name>``
    """

    def __init__(self, spec: Spec, within: Path | None = None) -> None:
        self.spec, self.within = spec, within
        self.folder = (within or root()) / "sweeps" / spec.name
        self._rows = self._read()
        self._fingerprints: dict[str, dict[str, Any]] = {}  # fingerprints of data, computed once

    def rows(self) -> list[TaskState]:
        """The tasks in order, except those of stages that have not started yet."""
        return list(self._rows.values())

    def run(
        self, engine: Engine, report: Callable[[str], None] = lambda _: None
    ) -> dict[str, list[Done]]:
        """Run all unfinished tasks; return the finished ones by stage.

        A task whose process dies is restarted up to `Spec.retries` times. A task that raises is not
        restarted, since it would fail again. The other tasks of the stage continue, but the next
        stage does not start.

        Raises
        ------
        CdmlLabError : data is missing, another process runs this sweep, or tasks failed; names the
            first
        """
        refuse_while_imported("Sweep.run")
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock").acquire(timeout=0):
                return self._stages(engine, report)
        except Timeout:
            raise CdmlLabError(
                f"another process runs this sweep in {self.folder}: wait for it to end"
            ) from None

    def _stages(self, engine: Engine, report: Callable[[str], None]) -> dict[str, list[Done]]:
        # The data may have changed since an earlier call.
        self._fingerprints.clear()
        # With the lock held nothing can be running, so these tasks were running when the sweep was
        # killed.
        for row in self._read().values():
            self._rows[row.task] = (
                replace(row, state="waiting", attempts=0) if row.state == "running" else row
            )
        done: dict[str, list[Done]] = {}
        for name in self.spec.stages:
            tasks = expand.tasks(self.spec, name, done)
            # Tasks whose results are all there are done; the others start with no attempts.
            left = [task for task in tasks if not self._is_done(task)]
            for task in left:
                self._rows[task.name] = TaskState(task.name, "waiting")
            report(f"stage {name}: {len(tasks)} trainings, {len(tasks) - len(left)} of them done")
            self._prepare(left, report)
            self._work(left, engine, report)
            failed = [task for task in left if self._rows[task.name].state == "failed"]
            if failed:
                raise CdmlLabError(
                    f"stage {name}: {len(failed)} of {len(tasks)} trainings failed, the first is "
                    f"{failed[0].name}: "
                    f"{self._rows[failed[0].name].error}; after fixing it, the same command "
                    f"continues"
                )
            done[name] = [self._done(task) for task in tasks]
        return done

    def _prepare(self, tasks: list[Task], report: Callable[[str], None]) -> None:
        """Check for missing data before any work, and render worlds once for all tasks."""
        data_sets: list[tuple[str, dict[str, Any]]] = []
        for task in tasks:
            data = DataConfig.model_validate(task.config["data"])
            if (data.name, data.options) not in data_sets:
                data_sets.append((data.name, data.options))
        for name, options in data_sets:
            if missing := datasets.missing(name, options):
                raise CdmlLabError(missing)
        for name, options in data_sets:
            report(f"data: {datasets.load(name, options)!r}")

    def _work(self, left: list[Task], engine: Engine, report: Callable[[str], None]) -> None:
        # Reversed, so that `pop` takes the first task.
        queue, total = list(reversed(left)), len(left)
        running: dict[Future[Outcome], tuple[Task, float]] = {}
        # Keep the engine full, and take up what has ended.
        while queue or running:
            while queue and len(running) < engine.room:
                task = queue.pop()
                attempts = self._rows[task.name].attempts + 1
                self._set(TaskState(task.name, "running", attempts))
                running[engine.submit(task)] = task, time.perf_counter()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task, start = running.pop(future)
                row = self._ended(task, future, time.perf_counter() - start)
                self._set(row)
                # Its process has died: it goes back into the queue.
                if row.state == "waiting":
                    queue.append(task)
                ended = sum(self._rows[task.name].state in ("finished", "failed") for task in left)
                report(f"[{ended}/{total}] {line(row)}")

    def _ended(self, task: Task, future: "Future[Outcome]", seconds: float) -> TaskState:
        attempts = self._rows[task.name].attempts
        error = future.exception()
        if error is None:
            outcome = future.result()
            return TaskState(
                task.name,
                "finished",
                attempts,
                round(seconds, 1),
                outcome.run,
                outcome.evaluations,
                outcome.exports,
            )
        message = plain(f"{type(error).__name__}: {error}", LONGEST)
        if isinstance(error, BrokenProcessPool):
            message = (
                f"its process was killed or ran out of memory; if a script runs the sweep, {GUARD}"
            )
        # A task that raised would raise again; one whose process died may succeed.
        again = engines.died(error) and attempts <= self.spec.retries
        return TaskState(
            task.name, "waiting" if again else "failed", attempts, round(seconds, 1), error=message
        )

    def _is_done(self, task: Task) -> bool:
        # Done means that the row says so, its files exist, and its run is of this config and data.
        row = self._rows.get(task.name)
        if row is None or row.state != "finished" or row.run is None:
            return False
        if not set(task.protocols) <= set(row.evaluations) or not set(task.export) <= set(
            row.exports
        ):
            return False
        if not all(is_file(path) for path in (*row.evaluations.values(), *row.exports.values())):
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
        """Whether the data of a finished run has changed; False if it cannot be compared."""
        # Tasks on the same data share a fingerprint.
        key = json.dumps([task.config["data"], task.config["start_from"]])
        if key not in self._fingerprints:
            try:
                self._fingerprints[key] = earlier.current_fingerprint(Config.parse(task.config))
            except (DataError, OSError):
                # Nothing to compare: `difference` then returns None.
                self._fingerprints[key] = {}
        return bool(inputs.difference(run.record.get("data", {}), self._fingerprints[key]))

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
            message = (
                yaml_header.complaint(error, "it")
                if isinstance(error, ValidationError)
                else cause(error)
            )
            raise CdmlLabError(
                f"{path} cannot be read ({message}): remove it; finished runs are recognised anyway"
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
    """Format a row as a line of text."""
    parts = [f"{plain(row.task, 200):44} {row.state}"]
    if row.seconds is not None:
        parts.append(f"{row.seconds:7.1f} s")
    for name, path in row.evaluations.items():
        if not is_file(path):
            parts.append(f"{name}: {plain(path, 200)} is gone")
            continue
        values = measures(Measures.read(path))
        parts.append(f"{name} {100 * values.get('accuracy', values['auc']):.2f} %")
    if row.attempts > 1:
        parts.append(f"attempt {row.attempts}")
    if row.error:
        parts.append(plain(row.error))
    return "  ".join(parts)
