"""Read the records of sweeps: measures by arm and seed, and the faults of a record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdmllab import results
from cdmllab.errors import CdmlLabError, did_you_mean, reading
from cdmllab.provenance import is_unknown
from cdmllab.results import records
from cdmllab.results.paired import Difference, paired
from cdmllab.sweeps import expand, record, spec
from cdmllab.sweeps.expand import Done
from cdmllab.training import Config, presets

Floats = NDArray[np.float64]


class Recorded:
    """The record of a sweep, opened by its name.

    ``Recorded("lab_main").values("compare", "cdml_easy", "lab/lfw")`` is one accuracy per seed.

    Raises
    ------
    CdmlLabError : there is no such record, or a value in it has an impossible type or size
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.record = records.load(name)

    def arms(self, stage: str) -> list[str]:
        """The arms of a stage, in the order of the spec."""
        return list(dict.fromkeys(group["arm"] for group in self._stage(stage)["groups"]))

    def seeds(self, stage: str, arm: str) -> list[int]:
        """The seeds of an arm."""
        return [run["seed"] for run in self._group(stage, arm)["runs"]]

    def config(self, stage: str, arm: str) -> dict[str, Any]:
        """The config of an arm, flat."""
        config: dict[str, Any] = self._group(stage, arm)["config"]
        return config

    def chosen(self, stage: str) -> dict[str, dict[str, Any]]:
        """By arm, the best point of the grid and its value."""
        best: dict[str, dict[str, Any]] = self._stage(stage)["chosen"]
        return best

    def values(
        self, stage: str, arm: str, protocol: str | Sequence[str], measure: str = "accuracy"
    ) -> Floats:
        """A measure per seed, by rising seed; its mean over several protocols."""
        names = [protocol] if isinstance(protocol, str) else list(protocol)
        rows = []
        # One row per seed, one column per protocol; the mean is over protocols.
        for run in sorted(self._group(stage, arm)["runs"], key=lambda run: run["seed"]):
            for name in names:
                if name not in run["measures"]:
                    hint = did_you_mean(name, run["measures"])
                    raise CdmlLabError(
                        f"sweep {self.name}, stage {stage}: {arm} was not evaluated on "
                        f"{name!r}{hint}"
                    )
                if measure not in run["measures"][name]:
                    hint = did_you_mean(measure, run["measures"][name])
                    raise CdmlLabError(
                        f"sweep {self.name}, stage {stage}: {arm} has no {measure!r} on "
                        f"{name!r}{hint}"
                    )
            rows.append([run["measures"][name][measure] for name in names])
        values: Floats = np.array(rows, dtype=np.float64).mean(axis=1)
        return values

    def folds(self, stage: str, arm: str, protocol: str, seed: int) -> list[float]:
        """The accuracy of each fold of a protocol, for one seed."""
        for run in self._group(stage, arm)["runs"]:
            if run["seed"] == seed and protocol in run.get("per_fold", {}):
                return list(run["per_fold"][protocol])
        raise CdmlLabError(
            f"sweep {self.name}, stage {stage}: {arm}, seed {seed} has no folds of {protocol!r}"
        )

    def curve(self, stage: str, arm: str, key: str) -> tuple[Floats, Floats, Floats]:
        """A metric during training: steps, mean over seeds, standard deviation over seeds."""
        curve = self._group(stage, arm)["curves"].get(key)
        if curve is None:
            raise CdmlLabError(
                f"sweep {self.name} has no curve {key!r} of {arm}; its spec lists the recorded "
                f"curves under `curves:`"
            )
        return (
            np.array(curve["step"], float),
            np.array(curve["mean"], float),
            np.array(curve["sd"], float),
        )

    def curve_difference(
        self, stage: str, arm: str, other: str, key: str
    ) -> tuple[Floats, Floats, Floats]:
        """Steps, an arm's mean of a metric minus another arm's, and zeros.

        The zeros are in the place of the standard deviation, which the record does not hold for
        the difference.
        """
        (step, mean, _), (_, base, _) = self.curve(stage, arm, key), self.curve(stage, other, key)
        return step, mean - base, np.zeros_like(mean)

    def difference(
        self,
        stage: str,
        arm: str,
        other: str,
        protocol: str | Sequence[str],
        measure: str = "accuracy",
        confidence: float = 0.95,
    ) -> Difference:
        """An arm's measure minus another's, paired by seed."""
        one, base = (self.values(stage, name, protocol, measure) for name in (arm, other))
        return paired(one, base, confidence)

    def trained(self) -> dict[str, Any]:
        """The number of trainings, their total hours, their processors, and the date."""
        runs = [
            run
            for stage in self.record["stages"]
            for group in stage["groups"]
            for run in group["runs"]
        ]
        return {
            "runs": len(runs),
            "hours": sum(run["train_seconds"] for run in runs) / 3600,
            # Of the GPU, if there was one.
            "processors": sorted({run.get("gpu", run["processor"]) for run in runs}),
            "date": self.record["date"],
        }

    def _stage(self, stage: str) -> dict[str, Any]:
        for candidate in self.record["stages"]:
            if candidate["stage"] == stage:
                return dict(candidate)
        names = [candidate["stage"] for candidate in self.record["stages"]]
        raise CdmlLabError(
            f"sweep {self.name} has no stage {stage!r}{did_you_mean(stage, names)}; it has {names}"
        )

    def _group(self, stage: str, arm: str) -> dict[str, Any]:
        # A grid has several groups of one arm, one for each point; here it must be a single one.
        groups = [group for group in self._stage(stage)["groups"] if group["arm"] == arm]
        if len(groups) == 1:
            return dict(groups[0])
        if not groups:
            hint = did_you_mean(arm, self.arms(stage))
            raise CdmlLabError(f"sweep {self.name}, stage {stage}: no arm {arm!r}{hint}")
        raise CdmlLabError(
            f"sweep {self.name}, stage {stage}: {arm} was tried at {len(groups)} points; see "
            f"`chosen`"
        )


def trained_as_published(preset: str, folder: Path | None = None) -> dict[str, Floats]:
    """Values of recorded runs of a preset by ``"protocol measure"``; empty if there are none.

    The runs are those of sweeps and of `cdmllab reproduce --record`. A sweep that changes a
    preset's settings does not count as that preset.
    """
    # Compare complete configs, so that any changed setting excludes the run.
    current = record.plain_config(presets.load(preset).flat())
    values: dict[str, list[float]] = {}
    for path in sorted(((folder or results.folder()) / "sweeps").glob("*.json")):
        for stage in records.load(path.stem, folder)["stages"]:
            for group in stage["groups"]:
                if record.comparable(group["config"], current) == current:
                    for run in group["runs"]:
                        _collect(run["measures"], values)
    for path in sorted(((folder or results.folder()) / "reproductions").glob("*.json")):
        with reading(path, "a record of a reproduction"):
            reproduction = results.load(f"reproductions/{path.stem}", folder)
            if record.comparable(reproduction["config"], current) == current:
                _collect(reproduction["measures"], values)
    return {key: np.array(of_runs) for key, of_runs in values.items()}


def _collect(measures: Mapping[str, Mapping[str, float]], values: dict[str, list[float]]) -> None:
    for protocol, by_measure in measures.items():
        for measure, value in by_measure.items():
            values.setdefault(f"{protocol} {measure}", []).append(value)


def faults(name: str, folder: Path | None = None) -> list[str]:
    """The faults of a sweep's record, a sentence each: a run missing, dirty, or misconfigured."""
    results_folder = folder or results.folder()
    path = results_folder / f"sweeps/{name}.json"
    recorded, current = (
        records.load(name, results_folder),
        spec.load(path.with_suffix(".yaml")),
    )
    faults: list[str] = []
    earlier: dict[str, list[Done]] = {}
    # Stage by stage, since the tasks of a stage follow from the results of earlier ones.
    stages = {stage["stage"]: stage for stage in recorded["stages"]}
    for stage in current.stages:
        if stage not in stages:
            return [*faults, f"{path.name}: stage {stage} of the spec is missing"]
        runs = {
            (group["arm"], str(group["point"]), run["seed"]): (group, run)
            for group in stages[stage]["groups"]
            for run in group["runs"]
        }
        earlier[stage] = []
        # Each task of the spec must have a run; what remains belongs to no task.
        for task in expand.tasks(current, stage, earlier):
            key = (task.arm, str(task.point), task.seed)
            if key not in runs:
                faults.append(f"{path.name}: {task.name} is missing")
                continue
            group, run = runs.pop(key)
            faults += [f"{path.name}: {task.name}: {fault}" for fault in _faults(task, group, run)]
            earlier[stage].append(Done(task, run["run"], run["measures"]))
        faults += [
            f"{path.name}: {stage}/{arm}, seed {seed} is not in the spec" for arm, _, seed in runs
        ]
        # A comparison within a stage must not mix precisions.
        computed = {
            str(run.get("precision")) for group in stages[stage]["groups"] for run in group["runs"]
        }
        if len(computed) > 1:
            faults.append(
                f"{path.name}: the runs of stage {stage} were computed in "
                f"{' and in '.join(sorted(computed))}"
            )
        if faults:
            return faults  # later stages depend on this one, so their faults would be noise
    return faults


def _faults(task: Any, group: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    faults = []
    # Of a commit only the most serious fault is reported.
    if is_unknown(run.get("git_commit")):
        faults.append(f"run {run['run']} has no known commit")
    elif run.get("git_dirty") is not False:
        faults.append(f"run {run['run']} was made with uncommitted changes")
    elif run.get("citable") is False:
        faults.append(
            f"run {run['run']} is marked as not citable: it was started at an unknown commit"
        )
    if group.get("flip", task.flip) is not task.flip:  # older records do not say
        faults.append(
            f"run {run['run']} was judged with flip {group['flip']}, but the spec now says "
            f"{task.flip}"
        )
    for protocol in task.protocols:
        if protocol not in run["measures"]:
            faults.append(f"run {run['run']} was not evaluated on {protocol}")
    # Written differently, for instance before a default was added, configs may still be the same.
    try:
        current = record.plain_config(task.config)
        config = record.comparable(group["config"], current)
        same = config == current or Config.parse(config) == Config.parse(current)
    except ValueError as error:
        return [*faults, f"its config is no longer valid: {error}"]
    if not same:
        faults.append(f"run {run['run']} has another config than the spec has now")
    return faults
