"""Reading what sweeps have recorded: numbers by arm and seed, paired differences, and whether all
of it is in order.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cdmllab import results
from cdmllab.errors import CdmlLabError, did_you_mean, optional
from cdmllab.metrics.multiple import holm
from cdmllab.provenance import is_unknown
from cdmllab.sweeps import expand, record, spec
from cdmllab.sweeps.expand import Done
from cdmllab.training import Config, presets

Floats = NDArray[np.float64]
Name = TypeVar("Name")


class Difference(NamedTuple):
    """The mean of paired differences, with its interval, and what could have been seen."""

    mean: float
    low: float  # of the confidence interval
    high: float
    sd: float  # of one difference
    n: int
    detectable: float  # the least true difference that n pairs find with a power of 80 %
    p: float  # two-sided
    # adjusted for the family it is part of, see `family`; None where it stands alone
    p_family: float | None = None

    @property
    def verdict(self) -> Literal["higher", "lower", "not told apart"]:
        """Which side of zero it lies on: by its interval alone, or in a family by the adjusted
        p-value, at 5 %.
        """
        if self.p_family is None:
            return "higher" if self.low > 0 else "lower" if self.high < 0 else "not told apart"
        if self.p_family > 0.05:
            return "not told apart"
        return "higher" if self.mean > 0 else "lower"

    def within(self, bound: float) -> "Equivalence":
        """Whether the true difference is smaller than `bound` either way, by two one-sided t-tests.

        Their joint p-value is below 5 % where the 90 % interval lies between -bound and bound
        (Schuirmann, 1987, https://doi.org/10.1007/BF01068419).

        Raises
        ------
        ValueError : `bound` is not above 0
        """
        if not bound > 0.0:
            raise ValueError(f"the smallest effect of interest must be above 0, got {bound!r}")
        from scipy import stats

        error, degrees = self.sd / math.sqrt(self.n), self.n - 1
        half = float(stats.t.ppf(0.95, degrees)) * error
        nearest = bound - abs(self.mean)  # to the bound that it may have crossed
        p = float(stats.t.sf(nearest / error, degrees)) if error > 0 else float(nearest <= 0)
        return Equivalence(bound, self.mean - half, self.mean + half, p, self.verdict)

    def told(self, unit: str = "", scale: float = 100.0) -> str:
        """As ``+0.12 [-0.30, +0.54] points``."""
        # no -0.00
        mean, low, high = (round(scale * value, 2) + 0.0 for value in (self.mean, self.low, self.high))
        numbers = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
        return f"{numbers} {unit}".strip()


class Equivalence(NamedTuple):
    """A paired difference against the smallest effect of interest."""

    bound: float  # the smallest effect of interest, either way
    low: float  # of the 90 % interval
    high: float
    p: float  # of the two one-sided tests together
    direction: Literal["higher", "lower", "not told apart"]

    @property
    def verdict(self) -> Literal["different", "too small to matter", "equivalent", "inconclusive"]:
        """Of the two questions, is there a difference, and is it smaller than the bound.

        ``"too small to matter"`` answers both with yes, ``"inconclusive"`` neither.
        """
        if self.direction == "not told apart":
            return "equivalent" if self.p < 0.05 else "inconclusive"
        return "too small to matter" if self.p < 0.05 else "different"


def pairs_for_equivalence(sd: float, bound: float, power: float = 0.8) -> int:
    """How many pairs show equivalence within `bound` with this power, if there is no difference.

    By the rule of Phillips (1990, https://doi.org/10.1007/BF01063556), with Student's t and, for a
    true difference of 0, beta shared out over both tests.

    Parameters
    ----------
    sd : of one paired difference, of a pilot
    bound : the smallest effect of interest, in the unit of `sd`
    power : in (0, 1)

    Raises
    ------
    ValueError : a number out of range
    """
    if not (sd >= 0.0 and bound > 0.0 and 0.0 < power < 1.0):
        raise ValueError(f"sd must be 0 or more, bound above 0 and power in (0, 1); got {sd}, {bound}, "
                         f"{power}")
    from scipy import stats

    n = 2
    while n < 100_000:
        reach = bound * math.sqrt(n) / sd - float(stats.t.ppf(0.95, n - 1)) if sd > 0.0 else math.inf
        if 2.0 * float(stats.t.cdf(reach, n - 1)) - 1.0 >= power:
            return n
        n += 1
    raise ValueError(f"no number of pairs below {n:,} shows equivalence within {bound:g} at a spread of "
                     f"{sd:g}")


class Recorded:
    """A sweep's record, by name:
    ``Recorded("lab_main").values("compare", "cdml_easy", "lab/lfw")``.

    Raises
    ------
    CdmlLabError : there is no such record
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.record = results.load(f"sweeps/{name}")

    def arms(self, stage: str) -> list[str]:
        """The arms of a stage, in the order of the spec."""
        return list(dict.fromkeys(group["arm"] for group in self._stage(stage)["groups"]))

    def seeds(self, stage: str, arm: str) -> list[int]:
        """The seeds of an arm."""
        return [run["seed"] for run in self._group(stage, arm)["runs"]]

    def config(self, stage: str, arm: str) -> dict[str, Any]:
        """The config of an arm, flat."""
        found: dict[str, Any] = self._group(stage, arm)["config"]
        return found

    def chosen(self, stage: str) -> dict[str, dict[str, Any]]:
        """By arm, the best point of the grid and its value."""
        found: dict[str, dict[str, Any]] = self._stage(stage)["chosen"]
        return found

    def values(self, stage: str, arm: str, protocol: str | Sequence[str], measure: str = "accuracy") -> Floats:
        """A measure of every seed, in the seeds' order; of several protocols the mean."""
        names = [protocol] if isinstance(protocol, str) else list(protocol)
        rows = []
        for run in sorted(self._group(stage, arm)["runs"], key=lambda run: run["seed"]):
            for name in names:
                if name not in run["measures"]:
                    raise CdmlLabError(f"sweep {self.name}, stage {stage}: {arm} was not judged by "
                                       f"{name!r}"
                                       f"{did_you_mean(name, run['measures'])}")  # fmt: skip
            rows.append([run["measures"][name][measure] for name in names])
        found: Floats = np.array(rows, dtype=np.float64).mean(axis=1)
        return found

    def folds(self, stage: str, arm: str, protocol: str, seed: int) -> list[float]:
        """Accuracy of every fold of a protocol, of one seed."""
        for run in self._group(stage, arm)["runs"]:
            if run["seed"] == seed and protocol in run["per_fold"]:
                return list(run["per_fold"][protocol])
        raise CdmlLabError(f"sweep {self.name}, stage {stage}: {arm}, seed {seed} has no folds of "
                           f"{protocol!r}")

    def curve(self, stage: str, arm: str, key: str) -> tuple[Floats, Floats, Floats]:
        """Steps, and the mean and the spread over seeds of a metric."""
        found = self._group(stage, arm)["curves"].get(key)
        if found is None:
            raise CdmlLabError(f"sweep {self.name} keeps no curve {key!r} of {arm}; `curves:` in its spec lists "
                               f"them")
        return np.array(found["step"], float), np.array(found["mean"], float), np.array(found["sd"], float)

    def beside(self, stage: str, arm: str, other: str, key: str) -> tuple[Floats, Floats, Floats]:
        """Steps, and an arm's mean of a metric minus another's; the spread of that was not kept,
        and is 0 here.
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
        """How many trainings there were, how long they took, and where."""
        runs = [run for stage in self.record["stages"] for group in stage["groups"] for run in group["runs"]]
        return {
            "runs": len(runs),
            "hours": sum(run["train_seconds"] for run in runs) / 3600,
            "processors": sorted({run.get("gpu", run["processor"]) for run in runs}),
            "date": self.record["date"],
        }

    def _stage(self, stage: str) -> dict[str, Any]:
        for found in self.record["stages"]:
            if found["stage"] == stage:
                return dict(found)
        names = [found["stage"] for found in self.record["stages"]]
        raise CdmlLabError(f"sweep {self.name} has no stage {stage!r}{did_you_mean(stage, names)}; it has "
                           f"{names}")

    def _group(self, stage: str, arm: str) -> dict[str, Any]:
        groups = [group for group in self._stage(stage)["groups"] if group["arm"] == arm]
        if len(groups) == 1:
            return dict(groups[0])
        if not groups:
            hint = did_you_mean(arm, self.arms(stage))
            raise CdmlLabError(f"sweep {self.name}, stage {stage}: there is no arm {arm!r}{hint}")
        raise CdmlLabError(f"sweep {self.name}, stage {stage}: {arm} was tried at {len(groups)} points; see "
                           f"`chosen`")


def paired(one: Floats, other: Floats, confidence: float = 0.95, power: float = 0.8) -> Difference:
    """Mean of one - other over pairs, with Student's interval, p-value and the difference that n
    pairs can detect.

    Parameters
    ----------
    one, other : shape (n,), n of 2 or more; pair by pair alike in all but what is compared

    Raises
    ------
    ValueError : fewer than two pairs, or shapes that differ
    """
    if one.shape != other.shape or one.ndim != 1 or len(one) < 2:
        raise ValueError(f"pairs need two values or more on both sides, got {one.shape} and "
                         f"{other.shape}")
    with optional("analysis", "a paired comparison"):
        from scipy import optimize, stats  # takes seconds, and sweeps at work do without it

    d, n = one - other, len(one)
    sd = float(d.std(ddof=1))
    error = sd / math.sqrt(n)
    t = float(stats.t.ppf(0.5 + confidence / 2, n - 1))
    p = float(2 * stats.t.sf(abs(d.mean()) / error, n - 1)) if error > 0 else float(d.mean() == 0)
    # of t, in standard errors
    shift = optimize.brentq(lambda nc: stats.nct.sf(t, n - 1, nc) - power, 0.0, 100.0 * t)
    detectable = float(shift) * error
    return Difference(float(d.mean()), float(d.mean()) - t * error, float(d.mean()) + t * error, sd, n, detectable, p)


def family(differences: Mapping[Name, Difference]) -> dict[Name, Difference]:
    """Differences that are looked at together, each with Holm's adjusted p-value, which decides its
    verdict.

    This is the book's one rule for several comparisons: the differences of a table or a figure are
    a family. Their intervals stay those of single differences. Two arms that did the same to the
    last bit are no test.
    """
    tested = {name: d.p for name, d in differences.items() if d.sd > 0 or d.mean != 0}
    adjusted = dict(zip(tested, holm(list(tested.values())).tolist(), strict=True)) if tested else {}
    return {name: d._replace(p_family=adjusted.get(name, 1.0)) for name, d in differences.items()}


def trained_as_published(preset: str, folder: Path | None = None) -> dict[str, Floats]:
    """What recorded runs of a preset measured, by protocol and measure; empty where nobody has run
    it as it is.

    Runs of sweeps, and those of `cdmllab reproduce --record`.

    A sweep that changes a preset's settings does not count as that preset.
    """
    wanted = record.plain_config(presets.load(preset).flat())
    found: dict[str, list[float]] = {}
    for path in sorted(((folder or results.folder()) / "sweeps").glob("*.json")):
        for stage in results.load(f"sweeps/{path.stem}", folder)["stages"]:
            for group in stage["groups"]:
                if record.comparable(group["config"], wanted) == wanted:
                    for run in group["runs"]:
                        _collect(run["measures"], found)
    for path in sorted(((folder or results.folder()) / "reproductions").glob("*.json")):
        kept = results.load(f"reproductions/{path.stem}", folder)
        if record.comparable(kept["config"], wanted) == wanted:
            _collect(kept["measures"], found)
    return {key: np.array(values) for key, values in found.items()}


def _collect(measures: Mapping[str, Mapping[str, float]], found: dict[str, list[float]]) -> None:
    for protocol, of in measures.items():
        for measure, value in of.items():
            found.setdefault(f"{protocol} {measure}", []).append(value)


def faults(name: str, folder: Path | None = None) -> list[str]:
    """What is not in order with a sweep's record, each in a sentence: a run missing, dirty, or of
    another config.
    """
    where = folder or results.folder()
    path = where / f"sweeps/{name}.json"
    told, wanted = results.load(f"sweeps/{name}", where), spec.load(path.with_suffix(".yaml"))
    found: list[str] = []
    earlier: dict[str, list[Done]] = {}
    kept = {stage["stage"]: stage for stage in told["stages"]}
    for stage in wanted.stages:
        if stage not in kept:
            return [*found, f"{path.name}: stage {stage} of the spec is missing"]
        runs = {
            (group["arm"], str(group["point"]), run["seed"]): (group, run)
            for group in kept[stage]["groups"]
            for run in group["runs"]
        }
        earlier[stage] = []
        for task in expand.tasks(wanted, stage, earlier):
            key = (task.arm, str(task.point), task.seed)
            if key not in runs:
                found.append(f"{path.name}: {task.name} is missing")
                continue
            group, run = runs.pop(key)
            found += [f"{path.name}: {task.name}: {fault}" for fault in _faults(task, group, run)]
            earlier[stage].append(Done(task, run["run"], run["measures"]))
        found += [f"{path.name}: {stage}/{arm}, seed {seed} is not in the "
                  f"spec" for arm, _, seed in runs]
        computed = {str(run.get("precision")) for group in kept[stage]["groups"] for run in group["runs"]}
        if len(computed) > 1:
            found.append(f"{path.name}: the runs of stage {stage} were computed in "
                         f"{' and in '.join(sorted(computed))}")
        if found:
            return found  # later stages follow from this one
    return found


def _faults(task: Any, group: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    faults = []
    if is_unknown(run.get("git_commit")):
        faults.append(f"run {run['run']} does not know the commit it was made at")
    elif run.get("git_dirty") is not False:
        faults.append(f"run {run['run']} was made with changes that are not committed")
    elif run.get("citable") is False:
        faults.append(f"run {run['run']} is marked as not citable: it was begun at an unknown "
                      f"commit")
    if group.get("flip", task.flip) is not task.flip:  # older records do not say
        faults.append(f"run {run['run']} was judged with flip {group['flip']}, and the spec says "
                      f"{task.flip} now")
    for protocol in task.protocols:
        if protocol not in run["measures"]:
            faults.append(f"run {run['run']} was not judged by {protocol}")
    try:
        wanted = record.plain_config(task.config)
        config = record.comparable(group["config"], wanted)
        same = config == wanted or Config.parse(config) == Config.parse(wanted)
    except ValueError as error:
        return [*faults, f"its config is no config today: {error}"]
    return faults if same else [*faults, f"run {run['run']} is of another config than the spec says "
                                         f"now"]
