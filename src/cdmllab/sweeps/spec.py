"""What a sweep is made of: stages of arms and seeds, read from a YAML file.

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

An arm is one thing to be compared, seeds are its repetitions. A later stage may take what an
earlier one found: each arm at its best point of the grid (`tuned_by`), the best arm alone
(`winner_of`), or trained networks (`start_from`).
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
from cdmllab.training.config import Protocols

MOST = 10_000
"""Trainings that a stage may have; whoever means more means several sweeps."""

Measure = Literal["accuracy", "auc", "eer", "tar@1e-3", "tar@1e-4"]
ExportKind = Literal["onnx", "onnx-int8", "openvino"]
Settings = dict[str, Any]  # keys may be dotted
Grid = dict[str, tuple[Any, ...]]


class SpecSection(BaseModel):
    """Base of the parts of a spec: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Stage(SpecSection):
    """Trainings that may run at the same time.

    Attributes
    ----------
    presets : what is trained; none takes the sweep's own; later stages can build on a stage of one
        only
    settings : changes to every training, with keys as ``optimiser.lr``
    arms : by name, the changes that make each arm; none takes those of the stage that `tuned_by` or
        `winner_of` names
    grid : by key, the values to try; every arm meets every combination
    grids : by arm, further keys of its own
    seeds : how many, counted from 0, or a list of them
    world_per_seed : every seed trains on, and is judged by, a face lab world of its own, so that
        intervals cover the choice of people too
    protocols : what every network is judged by, after training
    flip : add the mirrored images' embeddings
    choose_by : the measure, averaged over protocols and seeds, that says which point and arm is
        best
    choose_for : ``"each"`` arm its best point, or one point for ``"all"``, the best on average over
        the arms
    tuned_by : an earlier stage; each arm takes its best point of the grid there
    winner_of : an earlier stage; only its best arm, at its best point, is trained
    start_from : an earlier stage with as many seeds, whose networks (of the only arm, or of the arm
        of the same name) give the weights to begin with
    export : formats that every network is exported to
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
        if not isinstance(seeds, int) or isinstance(seeds, bool):
            return seeds
        if seeds > MOST:
            raise ValueError(
                f"{plain(seeds, 40)} seeds are more than the {MOST:,} trainings that a stage may "
                f"have"
            )
        return range(seeds)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(
                f"seeds must be one or more, each once; got {plain(list(self.seeds), 80)}"
            )
        if self.tuned_by and self.winner_of:
            raise ValueError(
                "tuned_by keeps every arm and winner_of the best one: give one of them"
            )
        for key, values in [
            pair for grid in (self.grid, *self.grids.values()) for pair in grid.items()
        ]:
            if not values:
                raise ValueError(f"the grid's key {key} has no values")
        sizes = [prod(map(len, (self.grid | own).values())) for own in ({}, *self.grids.values())]
        trainings = (
            max(sizes) * max(1, len(self.arms)) * max(1, len(self.presets)) * len(self.seeds)
        )
        if trainings > MOST:
            raise ValueError(
                f"its grid, arms and seeds make {plain(trainings, 40)} trainings; {MOST:,} are "
                f"allowed"
            )
        if len(self.presets) > 1 and (self.grid or self.grids):
            raise ValueError("a grid is for one preset: make it one stage for each of them")
        for arm in self.grids:
            if arm not in self.arms:
                raise ValueError(f"grids.{arm}: there is no such arm{did_you_mean(arm, self.arms)}")
        return self

    @property
    def sign(self) -> float:
        """1 where more of the measure is better, else -1."""
        return -1.0 if self.choose_by == "eer" else 1.0

    def points(self, arm: str) -> list[Settings]:
        """Every combination of the values of an arm's grid; one empty one where there is no
        grid.
        """
        grid = self.grid | self.grids.get(arm, {})
        return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


class Spec(SpecSection):
    """A whole sweep.

    Attributes
    ----------
    name : of the file, without its suffix
    about : what it asks: the file's first lines, which are comments
    preset, settings : of every stage; a stage's own are put on top
    curves : metrics whose course the record keeps, as ``loss`` or ``truth/gap``
    retries : how often a training is begun again after its process died
    stages : in their order; the next begins when the last one is finished
    """

    name: str = Field(pattern=r"^\w[\w .+-]*$", max_length=100)
    about: str = ""
    preset: str
    settings: Settings = Field(default_factory=dict)
    curves: tuple[str, ...] = ()
    retries: int = Field(default=2, ge=0)
    stages: dict[str, Stage] = Field(min_length=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        earlier: dict[str, Stage] = {}
        for name, stage in self.stages.items():
            for key in ("tuned_by", "winner_of", "start_from"):
                wanted = getattr(stage, key)
                if wanted is not None and wanted not in earlier:
                    raise ValueError(
                        f"stages.{name}.{key}: {wanted!r} is no earlier "
                        f"stage{did_you_mean(wanted, earlier)}"
                    )
                if wanted is not None and len(earlier[wanted].presets) > 1:
                    raise ValueError(
                        f"stages.{name}.{key}: {wanted!r} has several presets, and what it found "
                        f"is kept by arm; make "
                        "it one stage for each preset"
                    )
            for wanted in (stage.tuned_by, stage.winner_of):
                if wanted is not None and not earlier[wanted].protocols:
                    raise ValueError(
                        f"stages.{name}: stage {wanted!r} has no protocols to choose by"
                    )
            if stage.start_from is not None and not set(stage.seeds) <= set(
                earlier[stage.start_from].seeds
            ):
                raise ValueError(
                    f"stages.{name}: stage {stage.start_from!r} lacks some of its seeds to start "
                    f"from"
                )
            earlier[name] = stage
        for stage in self.stages.values():
            for preset in stage.presets or (self.preset,):
                if preset not in presets.names():
                    raise ValueError(
                        f"there is no preset {preset!r}{did_you_mean(preset, presets.names())}"
                    )
        return self


def load(path: Path | str) -> Spec:
    """Read a sweep's file.

    Raises
    ------
    CdmlLabError : the file cannot be read, or a key, preset or protocol is unknown; file and key
        are named
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
