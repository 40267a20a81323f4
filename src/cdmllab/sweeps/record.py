"""The record of a sweep in ``results/``: every number that the book prints, with provenance."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cdmllab._util.files import write_text
from cdmllab.runs import Run
from cdmllab.sweeps import expand
from cdmllab.sweeps.expand import Done
from cdmllab.sweeps.spec import Spec

CURVE_POINTS = 25
_PROVENANCE = (
    "git_commit",
    "git_dirty",
    "citable",
    "earlier_commits",
    "versions",
    "machine",
    "processor",
    "precision",
    "gpu",
    "data",
    "train_seconds",
    "started",
)


def build(spec: Spec, finished: Mapping[str, list[Done]]) -> dict[str, Any]:
    """The record of a sweep: per stage the chosen points, and per arm and point the runs."""
    stages = []
    for name, done in finished.items():
        # Runs of one arm and point differ only in their seeds.
        groups: dict[tuple[str, str], dict[str, Any]] = {}
        for one in done:
            key = (one.task.arm, json.dumps(one.task.point))
            if key not in groups:
                config = plain_config(one.task.config)
                of_task = {
                    "arm": one.task.arm,
                    "point": one.task.point,
                    "config": config,
                    "flip": one.task.flip,
                }
                groups[key] = {**of_task, "done": []}
            groups[key]["done"].append(one)
        for group in groups.values():
            # What is recorded of the finished tasks takes their place.
            runs = group.pop("done")
            group |= {"curves": _curves(spec, runs), "runs": [_run(one) for one in runs]}
        chosen = {
            arm: best._asdict()
            for arm, best in expand.chosen(spec.stages[name], done).items()
            if best.point
        }
        stages.append({"stage": name, "chosen": chosen, "groups": list(groups.values())})
    return {
        "sweep": spec.name,
        "about": spec.about,
        "command": f"cdmllab sweep results/sweeps/{spec.name}.yaml --record",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "stages": stages,
    }


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without the settings that differ between seeds.

    These are the seed, the folder of the initial network and, with `world_per_seed`, the seed of
    the data's world.
    """
    data = config["data"]
    if config["seed"] and data.get("world_seed") == config["seed"]:
        data = {**data, "world_seed": 0}
    return {**config, "data": data, "seed": 0, "start_from": None}


def comparable(recorded: Mapping[str, Any], current: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recorded config, in precision ``"auto"`` if `current` is.

    Earlier presets named the precision that ``"auto"`` selects now.
    """
    if current["speed"]["precision"] != "auto":
        return recorded
    return {**recorded, "speed": {**recorded.get("speed", {}), "precision": "auto"}}


def write(record: Mapping[str, Any], path: Path) -> None:
    """Write a record with one line per run, so that diffs are readable."""
    head = {key: value for key, value in record.items() if key != "stages"}
    # The head without its closing brace, so that the stages can follow.
    lines = [json.dumps(head, indent=1)[:-2] + ',\n "stages": [']
    for n, stage in enumerate(record["stages"]):
        lines.append(
            f'  {{"stage": {json.dumps(stage["stage"])}, "chosen": {json.dumps(stage["chosen"])}, '
            f'"groups": ['
        )
        for m, group in enumerate(stage["groups"]):
            shared = {key: value for key, value in group.items() if key != "runs"}
            lines.append(f'   {json.dumps(shared)[:-1]}, "runs": [')
            lines.append(",\n".join(f"    {json.dumps(run)}" for run in group["runs"]))
            lines.append("   ]}" + ("," if m + 1 < len(stage["groups"]) else ""))
        lines.append("  ]}" + ("," if n + 1 < len(record["stages"]) else ""))
    write_text(path, "\n".join([*lines, " ]", "}"]) + "\n")


def provenance_of(run: Run) -> dict[str, Any]:
    """The provenance of a run, as stored in records."""
    return {key: run.record[key] for key in _PROVENANCE if key in run.record}


def _run(done: Done) -> dict[str, Any]:
    run = Run.open(done.run)
    provenance = provenance_of(run)
    started_from = (
        {}
        if done.task.config["start_from"] is None
        else {"started_from": Path(done.task.config["start_from"]).name}
    )
    measures = {
        protocol: {name: round(value, 5) for name, value in values.items()}
        for protocol, values in done.measures.items()
    }
    return {
        "seed": done.task.seed,
        "run": run.folder.name,
        **started_from,
        "measures": measures,
        "per_fold": _rounded(done.per_fold),
        **provenance,
    }


def _rounded(per_fold: Mapping[str, list[float]]) -> dict[str, list[float]]:
    return {protocol: [round(value, 5) for value in folds] for protocol, folds in per_fold.items()}


def _curves(spec: Spec, done: list[Done]) -> dict[str, dict[str, list[float]]]:
    """Mean and standard deviation over seeds of the spec's curves, at a few steps.

    The steps include the first and the last.
    """
    curves: dict[str, dict[str, list[float]]] = {}
    metrics = [Run.open(one.run).metrics() for one in done]
    for key in spec.curves:
        # Some losses lack a metric, such as easiness.
        if any(key not in run for run in metrics):
            continue
        # The lines that contain this metric: a run logs lines of several kinds.
        rows = [np.flatnonzero(np.isfinite(run[key])) for run in metrics]
        # The steps of the first run, which are those of all.
        steps = metrics[0]["step"][rows[0]]
        some = np.unique(np.linspace(0, len(steps) - 1, CURVE_POINTS).astype(np.int64))
        values = np.array([run[key][at][some] for run, at in zip(metrics, rows, strict=True)])
        curves[key] = {
            "step": [int(step) for step in steps[some]],
            "mean": [float(f"{v:.4g}") for v in values.mean(axis=0)],
            "sd": [float(f"{v:.3g}") for v in values.std(axis=0, ddof=1 if len(done) > 1 else 0)],
        }
    return curves
