"""What a run's ``run.json`` may contain, checked before anything is done with it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, ValidationError

from cdmllab._util.validation import first_error
from cdmllab.errors import DataError, plain

LARGEST = 1 << 20  # bytes; a record with its config has a few thousand

_Text = Annotated[str, Field(max_length=10_000)]
_Digest = Annotated[str, Field(max_length=128)]
_Count = Annotated[int, Field(ge=0, lt=2**53)]


class _Section(BaseModel):
    """Keys that this version does not know are kept, as are those of earlier versions."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class Fingerprint(_Section):
    """The fingerprint of a run's data, see `cdmllab.training.inputs`."""

    images: _Count = 0
    identities: _Count = 0
    images_hashed: _Count = 0
    labels_sha256: _Digest = ""
    images_sha256: _Digest = ""
    sha256: _Digest = ""
    start_from_sha256: _Digest = ""
    mean_levels: Annotated[list[float], Field(max_length=1000)] = []


class RunRecord(_Section):
    """A run's record; earlier versions lack all keys but the status."""

    status: Literal["running", "finished", "stopped", "failed"]
    started: _Text = ""
    ended: _Text = ""
    error: _Text = ""
    git_commit: _Text | None = None
    git_dirty: bool | None = None
    citable: bool = False
    earlier_commits: Annotated[list[_Text | None], Field(max_length=10_000)] = []
    versions: Annotated[dict[_Text, _Text], Field(max_length=1000)] = {}
    machine: _Text = ""
    processor: _Text = ""
    gpu: _Text = ""
    config: dict[str, Any] = {}
    config_sha256: _Digest = ""
    data: Fingerprint = Fingerprint()
    precision: _Text | None = None
    num_identities: Annotated[int, Field(ge=1, lt=2**53)] = 1
    train_seconds: NonNegativeFloat = 0.0


def checked(record: object, path: Path) -> dict[str, Any]:
    """The record itself, if each of its values has a type and a size that a run's record has.

    Raises
    ------
    DataError : names the file and the key
    """
    where = plain(path, 200)
    if not isinstance(record, dict) or "status" not in record:
        raise DataError(f"{where} has no status, as every run's record does")
    try:
        RunRecord.model_validate(record)
    except ValidationError as error:
        key, message = first_error(error)
        raise DataError(plain(f"{where}: {key}: {plain(message, 200)}", 400)) from None
    return record
