"""The spec of a sweep: stages of arms and seeds, read from a YAML file.

::

    preset: lab/cpu/arcface
    stages:
      tune:
        arms:
          arcface: {loss: {name: arcface}}
          cdml: {loss: {name: cdml, match_mean: true}}
        grid: {loss.scale: [16, 24], loss.margin_rad: [0.2, 0.35]}
        protocols: [lab-validation/lfw]
      compare:
        tuned_by: tune
        seeds: 10
        protocols: [lab/lfw, lab/cfp_fp]

Arms are compared with each other, and seeds are their repetitions. A later stage may use the
results of an earlier one: each arm at its best point of the grid (`tuned_by`), only the best arm
(`winner_of`), or the trained networks (`start_from`).
"""

from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    field_validator,
    model_validator,
)

from cdmllab.errors import DataError, did_you_mean, plain, reading
from cdmllab.training import presets, yaml_header
from cdmllab.training.config_sections import Protocols

MOST = 10_000
"""The maximum number of trainings in a stage; more are probably a mistake."""

Measure = Literal["accuracy", "auc", "eer", "tar@1e-3", "tar@1e-4"]
ExportKind = Literal["onnx", "onnx-int8", "openvino"]
Settings = dict[str, Any]  # keys may be dotted
Grid = dict[str, tuple[Any, ...]]


class SpecSection(BaseModel):
    """Base class of the sections of a spec: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Stage(SpecSection):
    """Trainings that may run at the same time.

    Attributes
    ----------
    presets : presets to train; default the sweep's preset. A stage with several cannot be referred
        to by later stages
    settings : changes to every training, with keys such as ``optimiser.lr``
    arms : the changes of each arm, by name; default the arms of the stage that `tuned_by` or
        `winner_of` names
    grid : values to try, by key; every arm is trained with every combination
    grids : further keys of single arms
    seeds : their number, counted from 0, or a list
    world_per_seed : every seed trains and is evaluated on its own world of the face lab, so that
        intervals also cover the choice of people
    protocols : for the evaluation of every network
    flip : add the mirrored images' embeddings
    choose_by : the measure, averaged over protocols and seeds, that decides which point and arm is
        best
    choose_for : ``"each"`` arm has its own best point, or one point is best for ``"all"``, on
        average over the arms
    tuned_by : an earlier stage; each arm takes its best point of the grid there
    winner_of : an earlier stage; only its best arm, at its best point, is trained
    start_from : an earlier stage that has these seeds; its networks (of the same arm, or of the
        only one) give the initial weights
    export : formats to which every network is exported
    """

    presets: tuple[str, ...] = ()
    settings: Settings = Field(default_factory=dict)
    arms: dict[str, Settings] = Field(default_factory=dict)
    grid: Grid = Field(default_factory=dict)
    grids: dict[str, Grid] = Field(default_factory=dict)
    seeds: tuple[NonNegativeInt, ...] = (0,)
    world_per_seed: bool = False
    protocols: Protocols = ()
    flip: bool = False
    choose_by: Measure = "accuracy"
    choose_for: Literal["each", "all"] = "each"
    tuned_by: str | None = None
    winner_of: str | None = None
    start_from: str | None = None
    export: tuple[ExportKind, ...] = ()

    @field_validator("seeds", mode="before")
    @classmethod
    def _count(cls, seeds: Any) -> Any:
        # A number n means the seeds 0 to n - 1. True is an int as well, but not a number of seeds.
        if not isinstance(seeds, int) or isinstance(seeds, bool):
            return seeds
        if seeds > MOST:
            raise ValueError(
                f"{plain(seeds, 40)} seeds, but a stage may have at most {MOST:,} trainings"
            )
        return range(seeds)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(
                f"seeds must be one or more, without repetition; got {plain(list(self.seeds), 80)}"
            )
        if self.tuned_by and self.winner_of:
            raise ValueError(
                "tuned_by keeps every arm and winner_of only the best: give one of the two"
            )
        for key, values in [
            pair for grid in (self.grid, *self.grids.values()) for pair in grid.items()
        ]:
            if not values:
                raise ValueError(f"the grid's key {key} has no values")
        # The sizes of all grids; {} is that of an arm without further keys.
        sizes = [prod(map(len, (self.grid | own).values())) for own in ({}, *self.grids.values())]
        # An upper bound, with the largest grid for every arm.
        trainings = (
            max(sizes) * max(1, len(self.arms)) * max(1, len(self.presets)) * len(self.seeds)
        )
        if trainings > MOST:
            raise ValueError(
                f"grid, arms and seeds make {plain(trainings, 40)} trainings, but a stage may have "
                f"at most {MOST:,}"
            )
        if len(self.presets) > 1 and (self.grid or self.grids):
            raise ValueError("a grid needs a single preset: make one stage per preset")
        for arm in self.grids:
            if arm not in self.arms:
                raise ValueError(f"grids.{arm}: no such arm{did_you_mean(arm, self.arms)}")
        return self

    @property
    def sign(self) -> float:
        """1 if a higher measure is better, otherwise -1."""
        return -1.0 if self.choose_by == "eer" else 1.0

    def points(self, arm: str) -> list[Settings]:
        """All combinations of the values of an arm's grid; a single empty one without a grid."""
        grid = self.grid | self.grids.get(arm, {})
        return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


class Spec(SpecSection):
    """A sweep.

    Attributes
    ----------
    name : the file's name without its suffix
    about : the comments at the top of the file
    preset, settings : of every stage; a stage's own override them
    curves : metrics whose curves are recorded, such as ``loss`` or ``truth/gap``
    retries : how often a training is restarted after its process died
    stages : in order; each starts when the one before is finished
    """

    # It names a folder: a word character, then also spaces, dots, plus and minus signs.
    name: str = Field(pattern=r"^\w[\w .+-]*$", max_length=100)
    about: str = ""
    preset: str
    settings: Settings = Field(default_factory=dict)
    curves: tuple[str, ...] = ()
    retries: int = Field(default=2, ge=0)
    stages: dict[str, Stage] = Field(min_length=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        # A stage may refer only to those before it.
        earlier: dict[str, Stage] = {}
        for name, stage in self.stages.items():
            for key in ("tuned_by", "winner_of", "start_from"):
                source = getattr(stage, key)
                if source is not None and source not in earlier:
                    raise ValueError(
                        f"stages.{name}.{key}: {source!r} is not an earlier "
                        f"stage{did_you_mean(source, earlier)}"
                    )
                if source is not None and len(earlier[source].presets) > 1:
                    raise ValueError(
                        f"stages.{name}.{key}: {source!r} has several presets, but results are "
                        f"kept by arm: make it one stage per preset"
                    )
            for source in (stage.tuned_by, stage.winner_of):
                if source is not None and not earlier[source].protocols:
                    raise ValueError(
                        f"stages.{name}: stage {source!r} has no protocols to choose by"
                    )
            if stage.start_from is not None and not set(stage.seeds) <= set(
                earlier[stage.start_from].seeds
            ):
                raise ValueError(
                    f"stages.{name}: stage {stage.start_from!r}, from which it starts, lacks some "
                    f"of its seeds"
                )
            earlier[name] = stage
        for stage in self.stages.values():
            for preset in stage.presets or (self.preset,):
                if preset not in presets.names():
                    raise ValueError(f"no preset {preset!r}{did_you_mean(preset, presets.names())}")
        return self


def load(path: Path | str) -> Spec:
    """Read a sweep's file.

    Raises
    ------
    CdmlLabError : the file cannot be read, or a key, preset or protocol is unknown; names the file
        and the key
    """
    path = Path(path)
    with reading(path, "a usable sweep"):
        values = yaml_header.read(path)
        try:
            return Spec.model_validate(
                {"name": path.stem, "about": yaml_header.header(path)["about"], **values}
            )
        except ValidationError as error:
            raise DataError(f"{path}: {yaml_header.complaint(error, 'the sweep')}") from None
