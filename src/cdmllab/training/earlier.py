"""Earlier runs: find a finished one to reuse, and check one before it is resumed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from cdmllab import backbones
from cdmllab.data.sets import TrainingSet
from cdmllab.errors import CdmlLabError, DataError, plain, reading
from cdmllab.runs import CONFIG, RECORD, Run
from cdmllab.training import datasets, inputs, presets, yaml_header
from cdmllab.training.config import Config
from cdmllab.training.distributed import Place

Report = Callable[[str], None]

BACKBONE = "backbone.safetensors"
# Settings that may be edited before a run is resumed: where it runs and what it records, but not
# what it computes. The data may move, since its contents are compared.
_MAY_CHANGE = ("watch", "threads", "device", "data.workers", "data.folder")


class OtherDataError(CdmlLabError):
    """A run cannot be resumed because its data has changed."""


def config(run: Run) -> Config:
    """Read the config of a run.

    Raises
    ------
    DataError : it is not valid in this version; names the file and the key
    """
    path = run.folder / CONFIG
    with reading(path, "a usable config"):
        try:
            return Config.parse(run.config)
        except ValidationError as error:
            raise DataError(f"{path}: {yaml_header.complaint(error, 'config')}") from None


def num_identities(run: Run) -> int:
    """The number of identities that a finished run was trained on.

    Raises
    ------
    DataError : its record does not say
    """
    count: int | None = run.record.get("num_identities")
    if count is None:
        raise DataError(f"{run.folder / RECORD} has no num_identities, as a finished run's has")
    return count


def precision(run: Run) -> backbones.Precision | None:
    """The precision in which a run was started; None before it was chosen.

    Raises
    ------
    DataError : its record names another
    """
    name = run.record.get("precision")
    known = {one: one for one in get_args(backbones.Precision)}
    if name is not None and name not in known:
        raise DataError(
            f"{run.folder / RECORD}: precision must be one of {', '.join(known)}, got "
            f"{plain(name, 40)}"
        )
    return None if name is None else known[name]


def fingerprint(requested: Config, source: TrainingSet) -> dict[str, Any]:
    """The fingerprint of everything a training reads, see `cdmllab.training.inputs`."""
    start = None if requested.start_from is None else Path(requested.start_from)
    # start_from is the folder of a run or a released file.
    if start is not None and start.is_dir():
        start = start / BACKBONE
    return inputs.fingerprint(source, start)


def current_fingerprint(requested: Config) -> dict[str, Any]:
    """The fingerprint of what a training would read now, without rendering a world.

    Raises
    ------
    DataError, OSError : the data is missing or damaged
    """
    return fingerprint(requested, datasets.look(requested.data.name, requested.data.options))


def finished(requested: Config, within: Path | None, report: Report) -> Run | None:
    """The newest finished run of a config on the current data, or None.

    A run whose data has changed does not count. A run whose data cannot be compared does: its data
    is gone, or an earlier version recorded no fingerprint. `report` is called with a sentence about
    each.
    """
    now: dict[str, Any] | None = None
    for run in Run.finished(requested.flat(), within=within, report=report):
        message = f"{run.folder} has this config and is finished"
        try:
            # Computed once, and only if there is a finished run to compare with.
            now = now or current_fingerprint(requested)
        except (DataError, OSError) as error:
            report(f"{message}; its data cannot be compared: {error}")
            return run
        changed = inputs.difference(run.record.get("data", {}), now)
        # None means that nothing could be compared, "" that nothing has changed.
        if changed:
            report(f"{message}, but its data has changed since ({changed}): starting a new run")
            continue
        report(
            message
            if changed == ""
            else f"{message}; it is unknown whether its data has changed since"
        )
        return run
    return None


def refuse_edits(run: Run, edited: Config) -> None:
    """Raise if a run's ``config.yaml`` was edited, except for settings that may change.

    Earlier versions kept no second copy to compare with; their runs pass.

    Raises
    ------
    CdmlLabError : names the key, its value now and its value at the start
    """
    try:
        original = Config.parse(run.record["config"])
    except (KeyError, TypeError, ValueError):
        return
    for key, now, then in presets.differing(edited, original):
        # The list contains complete sections and single keys.
        if key not in _MAY_CHANGE and key.split(".")[0] not in _MAY_CHANGE:
            path = run.folder / CONFIG
            raise CdmlLabError(
                f"{path} was edited after the run started: {key} is {now} and was {then}. "
                f"Restore it to continue, or start a new run: `cdmllab train {path}`"
            )


def refuse_other_data(run: Run, now: dict[str, Any], place: Place, report: Report) -> None:
    """Raise if a run's data has changed since it was started.

    Raises
    ------
    OtherDataError : on every process; says what has changed
    """
    changed = place.agree(inputs.difference(run.record.get("data", {}), now))
    if changed:
        raise OtherDataError(
            f"{run.folder} was started on other data ({changed}). "
            f"Restore it to continue, or start a new run: `cdmllab train {run.folder / CONFIG}`"
        )
    if changed is None:
        report(f"{run.folder} has no fingerprint of its data: it is unknown whether it has changed")
