"""Expand the stages of a spec to tasks, using the results of earlier stages."""

from collections.abc import Mapping
from itertools import product
from statistics import mean
from typing import NamedTuple

from cdmllab.errors import CdmlLabError
from cdmllab.sweeps.spec import Settings, Spec, Stage
from cdmllab.sweeps.task import Task
from cdmllab.training import presets


class Done(NamedTuple):
    """A finished task, as later stages need it."""

    task: Task
    run: str
    measures: Mapping[str, Mapping[str, float]]  # by protocol, then by measure
    per_fold: Mapping[str, list[float]] = {}  # accuracy of each fold, by protocol


class Best(NamedTuple):
    """The best point of an arm."""

    point: Settings
    value: float  # of the stage's measure, mean over protocols and seeds


def tasks(spec: Spec, name: str, earlier: Mapping[str, list[Done]]) -> list[Task]:
    """All tasks of a stage.

    Parameters
    ----------
    spec : the sweep
    name : of the stage
    earlier : finished tasks by stage; must contain the stages that this one refers to

    Raises
    ------
    CdmlLabError : an invalid setting; names the stage and the arm
    """
    stage = spec.stages[name]
    expanded = []
    arms = _arms(spec, name, earlier)
    for preset, (arm, layers) in product(stage.presets or (spec.preset,), arms.items()):
        # "preset/arm", with the preset only if the stage has several.
        label = "/".join(part for part in (preset if len(stage.presets) > 1 else "", arm) if part)
        for point in stage.points(arm):
            try:
                # Later layers override earlier ones.
                config = presets.load(
                    preset, [spec.settings, stage.settings, *layers, point]
                ).flat()
            except CdmlLabError as error:
                raise CdmlLabError(
                    f"sweep {spec.name}, stage {name}, {label or preset}: {error}"
                ) from None
            if stage.world_per_seed and config["data"]["name"] != "lab":
                raise CdmlLabError(
                    f"sweep {spec.name}, stage {name}: world_per_seed needs data 'lab', got "
                    f"{config['data']['name']!r}"
                )
            for seed in stage.seeds:
                own = {**config, "seed": seed}
                if stage.world_per_seed:
                    own["data"] = {**config["data"], "world_seed": seed}
                world = seed if stage.world_per_seed else 0
                if stage.start_from is not None:
                    own["start_from"] = _start(earlier[stage.start_from], arm, seed)
                expanded.append(
                    Task(
                        name,
                        label,
                        point,
                        seed,
                        own,
                        stage.protocols,
                        stage.flip,
                        stage.export,
                        world,
                    )
                )
    return expanded


def best(stage: Stage, done: list[Done]) -> dict[str, Best]:
    """The best point of each arm, by the stage's measure averaged over protocols and seeds.

    Raises
    ------
    CdmlLabError : a protocol lacks this measure
    """
    arms = list(dict.fromkeys(one.task.arm for one in done))
    # The mean of each arm at each of its points, and of all arms together at each point.
    means = {arm: [_mean(stage, done, arm, point) for point in stage.points(arm)] for arm in arms}
    common = [
        stage.sign * mean(at) for at in zip(*means.values(), strict=stage.choose_for == "all")
    ]
    chosen = {}
    for arm, values in means.items():
        # The best point of this arm, or the one that is best for all.
        order = common if stage.choose_for == "all" else [stage.sign * value for value in values]
        top = order.index(max(order))
        chosen[arm] = Best(stage.points(arm)[top], values[top])
    return chosen


def chosen(stage: Stage, done: list[Done]) -> dict[str, Best]:
    """As `best` for a stage with a grid; empty without one, since there was no choice."""
    return best(stage, done) if stage.grid or stage.grids else {}


def winner(stage: Stage, done: list[Done]) -> str:
    """The arm with the best value."""
    by_arm = best(stage, done)
    return max(by_arm, key=lambda arm: stage.sign * by_arm[arm].value)


def _mean(stage: Stage, done: list[Done], arm: str, point: Settings) -> float:
    values = []
    for one in done:
        if one.task.arm != arm or one.task.point != point:
            continue
        for protocol, measures in one.measures.items():
            if stage.choose_by not in measures:
                raise CdmlLabError(
                    f"stage {one.task.stage}: {protocol} has no {stage.choose_by}: set choose_by "
                    f"to another measure"
                )
            values.append(measures[stage.choose_by])
    return mean(values)


def _arms(spec: Spec, name: str, earlier: Mapping[str, list[Done]]) -> dict[str, list[Settings]]:
    """The layers of settings of each arm, from bottom to top."""
    stage = spec.stages[name]
    source = stage.tuned_by or stage.winner_of
    own = {arm: [settings] for arm, settings in stage.arms.items()}
    if source is None:
        return own or {"": []}
    # The arms of the earlier stage, each at its best point; for winner_of only the best arm.
    source_stage, points = spec.stages[source], best(spec.stages[source], earlier[source])
    if stage.winner_of is not None:
        arm = winner(source_stage, earlier[source])
        points = {arm: points[arm]}
    tuned = {arm: [source_stage.arms.get(arm, {}), one.point] for arm, one in points.items()}
    # An arm's own settings override those of its best point; new arms have only their own.
    return {arm: [*layers, *own.get(arm, [])] for arm, layers in tuned.items()} | {
        arm: layers for arm, layers in own.items() if arm not in tuned
    }


def _start(done: list[Done], arm: str, seed: int) -> str:
    """The run to start from: of the same arm, or of the only arm."""
    arms = {one.task.arm for one in done}
    start_arm = arm if arm in arms else next(iter(arms)) if len(arms) == 1 else None
    for one in done:
        if one.task.arm == start_arm and one.task.seed == seed:
            return one.run
    raise CdmlLabError(
        f"no run to start from for arm {arm!r}, seed {seed}: the arms are {', '.join(sorted(arms))}"
    )


def point_label(point: Settings) -> str:
    """Abbreviate a point of the grid."""
    return ", ".join(f"{key.rsplit('.', 1)[-1]} {value}" for key, value in point.items())
