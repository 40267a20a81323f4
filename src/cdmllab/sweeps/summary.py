"""Summarise a stage as a table."""

from statistics import mean, stdev

from cdmllab.sweeps.expand import Done, chosen, point_label
from cdmllab.sweeps.spec import Spec


def summary(spec: Spec, name: str, done: list[Done]) -> list[str]:
    """One line per arm and point: mean and standard deviation over seeds of `choose_by`."""
    stage = spec.stages[name]
    # The runs of each arm and point, one for each seed.
    groups: dict[tuple[str, str], list[Done]] = {}
    for one in done:
        groups.setdefault((one.task.arm or spec.preset, point_label(one.task.point)), []).append(
            one
        )
    lines = [f"{name}: {stage.choose_by} in %, mean and spread over {len(stage.seeds)} seeds"]
    best = {(arm or spec.preset, point_label(at.point)) for arm, at in chosen(stage, done).items()}
    for key, runs in groups.items():
        cells = []
        for protocol, measured in runs[0].measures.items():
            if stage.choose_by not in measured:
                continue  # templates have no accuracy
            values = [100 * one.measures[protocol][stage.choose_by] for one in runs]
            spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{protocol} {mean(values):.2f}{spread}")
        # Only if an arm has several points to choose from.
        mark = (
            "  <- best of this arm"
            if len(groups) > len({arm for arm, _ in groups}) and key in best
            else ""
        )
        lines.append(f"  {' '.join(part for part in key if part):40} {'  '.join(cells)}{mark}")
    return lines
