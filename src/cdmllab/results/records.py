"""The form of a sweep's record, checked before any of its values is used."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cdmllab import results
from cdmllab._util.validation import first_error
from cdmllab.errors import DataError, plain

_Name = Annotated[str, Field(max_length=1000)]
_Values = list[float]


class _Section(BaseModel):
    """Further keys are those of the provenance, which the audit reads."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class Run(_Section):
    """A training of a sweep and its measures, by protocol and by name."""

    run: _Name
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    measures: dict[_Name, dict[_Name, float]]
    per_fold: dict[_Name, _Values] = {}
    git_commit: _Name | None = None
    git_dirty: bool | None = None
    citable: bool | None = None
    precision: _Name | None = None
    processor: _Name = ""
    gpu: _Name = ""
    train_seconds: Annotated[float, Field(ge=0.0, lt=1e12)] = 0.0


class Curve(_Section):
    """A metric during training: mean and standard deviation over seeds at some steps."""

    step: _Values
    mean: _Values
    sd: _Values


class Group(_Section):
    """The trainings of an arm at a point of its grid, which differ only in their seeds."""

    arm: _Name
    point: dict[_Name, Any]
    config: dict[_Name, Any]
    runs: list[Run]
    curves: dict[_Name, Curve] = {}


class Chosen(_Section):
    """The best point of an arm."""

    point: dict[_Name, Any]
    value: float


class Stage(_Section):
    """A stage of a sweep."""

    stage: _Name
    chosen: dict[_Name, Chosen] = {}
    groups: list[Group]


class SweepRecord(_Section):
    """A file in ``results/sweeps``."""

    date: _Name = ""
    stages: list[Stage]


def load(name: str, within: Path | None = None) -> dict[str, Any]:
    """Read the record of a sweep, see `cdmllab.results.load`.

    Raises
    ------
    CdmlLabError : there is no such record
    DataError : a value has another type or size than in a record; names the file and the key
    """
    record = results.load(f"sweeps/{name}", within)
    try:
        SweepRecord.model_validate(record)
    except ValidationError as error:
        key, message = first_error(error)
        raise DataError(
            f"results/sweeps/{plain(name, 100)}.json: {key}: {plain(message, 200)}"
        ) from None
    return record
