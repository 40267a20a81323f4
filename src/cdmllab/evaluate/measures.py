"""The measures of an evaluation as typed records, and their form in JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, Unpack

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from cdmllab._util.files import read_record
from cdmllab._util.validation import first_error
from cdmllab.errors import DataError, plain
from cdmllab.evaluate.protocol import Together


class _Record(BaseModel):
    """Part of an evaluation's JSON: keys that this version does not know are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)


class Estimate(_Record):
    """A value and its bootstrap interval.

    Attributes
    ----------
    value : a share, from 0 to 1; of a threshold, a cosine
    interval : lower and upper end in the value's unit; None without a bootstrap
    """

    value: float
    interval: tuple[float, float] | None = None


class GridAccuracy(_Record):
    """Accuracy over folds by arcface_torch's rule, see `cdmllab.metrics.fixed_grid`.

    Attributes
    ----------
    value : the mean over folds, from 0 to 1
    std_over_folds : standard deviation over the k folds with divisor k
    thresholds_squared_l2 : the threshold of each fold, a squared distance of unit vectors
    difference : this accuracy minus the one by the exact rule
    """

    value: float
    std_over_folds: float
    thresholds_squared_l2: tuple[float, ...]
    difference: float


class Accuracy(Estimate):
    """Accuracy over folds by the exact rule: the threshold is best among all, on the other folds.

    Attributes
    ----------
    value, interval : the mean over folds, from 0 to 1
    std_over_folds : standard deviation over the k folds with divisor k
    per_fold : the accuracy of each fold, from 0 to 1
    thresholds_cos : the threshold of each fold, a cosine
    arcface_torch_rule : the same pairs by the rule that most published numbers follow
    """

    std_over_folds: float
    per_fold: tuple[float, ...]
    thresholds_cos: tuple[float, ...]
    arcface_torch_rule: GridAccuracy


class NearestTar(Estimate):
    """TAR at the operating point nearest to a FAR, see `cdmllab.metrics.nearest_far`.

    Attributes
    ----------
    value, interval : the TAR, from 0 to 1
    far : the FAR of that point, which may exceed the FAR asked for
    difference : this TAR minus the one by the exact rule
    """

    far: float
    difference: float


class TarAtFar(_Record):
    """The largest TAR whose FAR does not exceed a limit.

    Attributes
    ----------
    far : the limit, from 0 to 1
    value, interval : the TAR, from 0 to 1; None where the pairs cannot resolve the FAR
    reason : why there is no value
    threshold_cos : the lowest cosine that is accepted; None without a value
    arcface_torch_rule : the TAR by the rule of the public IJB scripts; None without a value, and in
        records of earlier versions
    """

    far: float
    value: float | None
    interval: tuple[float, float] | None = None
    threshold_cos: Estimate | None = None
    arcface_torch_rule: NearestTar | None = None
    reason: str | None = None


class IntervalSettings(_Record):
    """How the intervals were drawn.

    Attributes
    ----------
    replicates : of the bootstrap
    confidence : the share of replicates inside an interval, from 0 to 1
    seed : of the bootstrap
    over : the unit that is resampled; intervals over pairs are too narrow
    note : why the unit is pairs; empty over identities
    """

    replicates: int
    confidence: float
    seed: int
    over: Literal["identities", "pairs"]
    note: str


class RankRate(_Record):
    """The share of probes, from 0 to 1, whose mate is among the k best scores."""

    k: int
    value: float


class TpirAtFpir(_Record):
    """The largest TPIR (`value`) whose FPIR does not exceed `fpir`; both from 0 to 1."""

    fpir: float
    value: float


class Identification(_Record):
    """1:N identification with the same images, see `cdmllab.evaluate.identify`.

    Attributes
    ----------
    gallery : the number of entries, each of another identity
    probes_with_mate, probes_without : the number of probes
    rank : rank-k rates
    tpir_at_fpir : at each FPIR that the probes without a mate can resolve
    """

    gallery: int
    probes_with_mate: int
    probes_without: int
    rank: tuple[RankRate, ...]
    tpir_at_fpir: tuple[TpirAtFpir, ...]


class NoIdentification(_Record):
    """Why 1:N identification was not measured."""

    reason: str


class Rate(Estimate):
    """A share of some pairs, with the number of pairs."""

    pairs: int


class Decision(_Record):
    """Error rates at a threshold chosen on another protocol.

    Attributes
    ----------
    threshold_from : the other protocol
    wanted_far : the FAR that the threshold has there at most
    threshold_cos : the lowest cosine that is accepted
    far, tar : what this threshold gives here
    """

    threshold_from: str
    wanted_far: float
    threshold_cos: float
    far: Rate
    tar: Rate


class ErrorsByBin(_Record):
    """The share of pairs that are judged wrongly in each of k bins, with its interval.

    All are None in a bin without pairs.
    """

    rate: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    pairs: tuple[int, ...]


class NuisanceTable(_Record):
    """Errors of genuine and of impostor pairs against a nuisance.

    Attributes
    ----------
    edges : of the k bins, k + 1 values in the nuisance's unit
    genuine, impostor : by bin
    """

    edges: tuple[float, ...]
    genuine: ErrorsByBin
    impostor: ErrorsByBin


class EvaluationKey(_Record):
    """What an evaluation follows from: with the same key it need not be measured again."""

    weights_sha256: str
    protocol_sha256: str
    preprocessing: dict[str, Any] | None
    replicates: int
    seed: int


class _Later(TypedDict, total=False):
    """The fields that are added after the measuring."""

    nuisances: dict[str, dict[Together, NuisanceTable]]
    made_with: EvaluationKey
    source: dict[str, str] | None
    decision: Decision


class Measures(_Record):
    """Everything that a protocol measures about some embeddings.

    The optional fields at the end are added by `cdmllab.evaluate.cached`.

    Attributes
    ----------
    protocol : its name
    flip : whether the embeddings of the mirrored images were added
    images, genuine_pairs, impostor_pairs : counts
    accuracy : over the protocol's folds; None with fewer than two
    auc : area under the ROC, from 0 to 1
    eer : equal error rate, from 0 to 1
    tar_at_far : one entry per FAR asked for, in that order
    intervals : how they were drawn; None without a bootstrap
    identification : None in records of versions that did not measure it
    git_commit, git_dirty, citable, versions, machine, processor : see `cdmllab.runs.provenance`
    nuisances : errors by nuisance, then by how the nuisances of both images of a pair are combined
    made_with : the key under which the evaluation is reused
    source : which file the protocol was read from (``"copy"`` in JSON), see `Protocol.copy`
    decision : by a threshold from another protocol
    """

    protocol: str
    flip: bool
    # Called pictures in the records of earlier versions.
    images: int = Field(validation_alias=AliasChoices("images", "pictures"))
    genuine_pairs: int
    impostor_pairs: int
    accuracy: Accuracy | None
    auc: Estimate
    eer: Estimate
    tar_at_far: tuple[TarAtFar, ...]
    intervals: IntervalSettings | None
    identification: Identification | NoIdentification | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    citable: bool | None = None
    versions: dict[str, str] | None = None
    machine: str | None = None
    processor: str | None = None
    nuisances: dict[str, dict[Together, NuisanceTable]] | None = None
    made_with: EvaluationKey | None = None
    source: dict[str, str] | None = Field(default=None, alias="copy")  # `copy` is pydantic's
    decision: Decision | None = None

    def having(self, **fields: Unpack[_Later]) -> Self:
        """A copy with some of the fields that are added after the measuring."""
        return self.model_copy(update=dict(fields))

    def to_json(self) -> dict[str, Any]:
        """The record as plain values for a JSON file, without the optional fields never set."""
        record: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The measures that `to_json` gave, of this version or an earlier one.

        Raises
        ------
        ValueError : a key is missing, or its value has another type; names the key
        """
        try:
            # As text: strict models take an array of JSON for a tuple, but no list of Python.
            return cls.model_validate_json(json.dumps(record))
        except ValidationError as error:
            key, message = first_error(error)
            raise ValueError(f"{key}: {plain(message, 200)}") from None

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read an evaluation's ``.json`` alone, without its arrays.

        Raises
        ------
        DataError : the file is missing, cannot be read, or is not an evaluation
        """
        record = read_record(path)
        try:
            return cls.from_json(record)
        except ValueError as error:
            raise DataError(f"{plain(path, 200)} is not an evaluation: {error}") from error
