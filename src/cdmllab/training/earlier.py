"""Earlier runs: whether one has already done what is asked, and whether one may go on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cdmllab.data.sets import TrainingSet
from cdmllab.errors import CdmlLabError, DataError, reading
from cdmllab.runs import CONFIG, Run
from cdmllab.training import datasets, inputs, presets, yaml_header
from cdmllab.training.config import Config
from cdmllab.training.distributed import Place

Tell = Callable[[str], None]

BACKBONE = "backbone.safetensors"
# What may be edited in a run's config before it goes on: where it runs and what it writes, not what
# it computes. Where the data lies is among it, since its contents are compared.
_MAY_CHANGE = ("watch", "threads", "device", "data.workers", "data.folder")


class OtherDataError(CdmlLabError):
    """A run may not go on, since its data has changed."""


def config(run: Run) -> Config:
    """What a run was started with.

    Raises
    ------
    DataError : no config of today; the file and the key are named
    """
    path = run.folder / CONFIG
    with reading(path, "a usable config"):
        try:
            return Config.parse(run.config)
        except ValidationError as error:
            raise DataError(f"{path}: {yaml_header.complaint(error, 'config')}") from None


def fingerprint(wanted: Config, source: TrainingSet) -> dict[str, Any]:
    """Of all that a training reads, see `cdmllab.training.inputs`."""
    start = None if wanted.start_from is None else Path(wanted.start_from)
    if start is not None and start.is_dir():
        start = start / BACKBONE
    return inputs.fingerprint(source, start)


def today(wanted: Config) -> dict[str, Any]:
    """The fingerprint of what a training would read now; a world is not rendered for it.

    Raises
    ------
    DataError, OSError : the data is missing or damaged
    """
    return fingerprint(wanted, datasets.look(wanted.data.name, wanted.data.options))


def finished(wanted: Config, within: Path | None, tell: Tell) -> Run | None:
    """The newest finished run of a config on the data as it is today, if there is one.

    A run whose data cannot be compared counts: its data is no longer there, or it is of an earlier
    version. One whose data has changed does not. `tell` is called with a sentence about each.
    """
    now: dict[str, Any] | None = None
    for run in Run.finished(wanted.flat(), within=within, tell=tell):
        about = f"{run.folder} has this config and is finished"
        try:
            now = now or today(wanted)
        except (DataError, OSError) as error:
            tell(f"{about}; its data cannot be compared: {error}")
            return run
        changed = inputs.difference(run.record.get("data", {}), now)
        if changed:
            tell(
                f"{about}, but its data has changed since, the difference: {changed}. A new run "
                f"is made"
            )
            continue
        tell(
            about if changed == "" else f"{about}; whether its data has changed since is not known"
        )
        return run
    return None


def refuse_edits(run: Run, edited: Config) -> None:
    """See that a run's ``config.yaml`` is as it was at the start, but for what may change.

    A run of an earlier version keeps no second copy to compare with, and passes.

    Raises
    ------
    CdmlLabError : naming the key, with its value now and then
    """
    try:
        begun = Config.parse(run.record["config"])
    except (KeyError, TypeError, ValueError):
        return
    for key, now, then in presets.differing(edited, begun):
        if key not in _MAY_CHANGE and key.split(".")[0] not in _MAY_CHANGE:
            path = run.folder / CONFIG
            raise CdmlLabError(
                f"{path} was edited after the run began: {key} is {now} and was {then}. "
                f"Put it back to go on, or start a new run: `cdmllab train {path}`"
            )


def refuse_other_data(run: Run, now: dict[str, Any], place: Place, tell: Tell) -> None:
    """See that a run goes on with the data that it was begun on.

    Raises
    ------
    OtherDataError : on every process, saying what has changed
    """
    changed = place.agree(inputs.difference(run.record.get("data", {}), now))
    if changed:
        raise OtherDataError(
            f"{run.folder} was begun on other data, the difference: {changed}. "
            f"Put it back to go on, or start a new run: `cdmllab train {run.folder / CONFIG}`"
        )
    if changed is None:
        tell(f"{run.folder} keeps no fingerprint of its data: whether it has changed is not known")
