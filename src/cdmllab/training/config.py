"""What a training run is made of: frozen pydantic models, in which an unknown key is an error."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import torch
from numpy.typing import ArrayLike
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from cdmllab import backbones, heads, margins
from cdmllab._util import options
from cdmllab.data.transforms import AUGMENTATIONS
from cdmllab.errors import CdmlLabError, cause, did_you_mean
from cdmllab.evaluate import protocols as all_protocols
from cdmllab.training import datasets

if TYPE_CHECKING:
    from cdmllab.heads import Head


class ConfigSection(BaseModel):
    """Base of all parts of a config: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@contextmanager
def _buildable() -> Iterator[None]:
    """Whatever an option makes a constructor raise is a complaint about the config."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(cause(error)) from error


def _matching(names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(all_protocols.matching(names))
    except CdmlLabError as error:
        raise ValueError(str(error)) from None


Seed = Annotated[int, Field(ge=0, lt=2**63)]
_MOST_PARAMETERS = 2_000_000_000

Protocols = Annotated[tuple[str, ...], AfterValidator(_matching)]
"""Names of protocols, files that are some, and patterns (``lab/*``), which become the names they
stand for.
"""


class Named(ConfigSection):
    """A thing chosen by name, with the options that this very thing has as further keys."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Every key but those declared here."""
        return dict(self.model_extra or {})


class DataConfig(Named):
    """What is trained on, see `cdmllab.training.datasets`, and how it is read.

    `per_identity` caps the images of each identity an epoch; `workers` are threads that read
    ahead.
    """

    augmentation: str = "none"
    per_identity: PositiveInt | None = None
    workers: int = Field(default=0, ge=0, le=1024)

    @model_validator(mode="after")
    def _known(self) -> Self:
        with _buildable():
            datasets.check(self.name, self.options)
        if self.augmentation not in AUGMENTATIONS:
            hint = did_you_mean(self.augmentation, AUGMENTATIONS)
            raise ValueError(
                f"unknown augmentation {self.augmentation!r}{hint}; there are: "
                f"{', '.join(AUGMENTATIONS)}"
            )
        return self


class BackboneConfig(Named):
    """The network, see `cdmllab.backbones`; further keys are its options."""

    embedding_dim: PositiveInt

    @model_validator(mode="after")
    def _known(self) -> Self:
        with _buildable(), torch.device("meta"):
            numbers = sum(parameter.numel() for parameter in self.build().parameters())
        if numbers > _MOST_PARAMETERS:
            raise ValueError(
                f"a network of {numbers:,} parameters; {_MOST_PARAMETERS:,} are allowed"
            )
        return self

    def build(self) -> backbones.Backbone:
        """A new network."""
        return backbones.create(self.name, embedding_dim=self.embedding_dim, **self.options)


class LossConfig(Named):
    """The loss and its scale; further keys are the options of `cdmllab.heads.create` and of the
    loss itself.
    """

    scale: PositiveFloat = 64.0

    @model_validator(mode="after")
    def _known(self) -> Self:
        if "class_sizes" in self.options:
            raise ValueError("class_sizes are counted from the training data, not set in a config")
        with _buildable(), torch.random.fork_rng():  # a head draws its class centres
            options.check(heads.create, self.options)
            if self.name in margins.names():
                options.check(margins.builder(self.name), self.options)
            self.build(embedding_dim=2, num_identities=2)
        return self

    def build(
        self,
        *,
        embedding_dim: int,
        num_identities: int,
        seed: int = 0,
        class_sizes: ArrayLike | None = None,
    ) -> "Head":
        """A new head, from `cdmllab.heads.create`; `seed` is of its draws where the options give
        none.
        """
        seeds: dict[str, Any] = {}
        if self.name in margins.names() and "seed" in margins.options(self.name):
            seeds["seed"] = seed
        if self.options.get("backend") == "sharded":
            seeds["sample_seed"] = seed
        size: dict[str, Any] = {
            "embedding_dim": embedding_dim,
            "num_identities": num_identities,
            "class_sizes": class_sizes,
        }
        return heads.create(self.name, scale=self.scale, **size, **{**seeds, **self.options})


class OptimiserConfig(ConfigSection):
    """Stochastic gradient descent with momentum, and how its learning rate runs.

    `schedule` is ``"multistep"`` (times `gamma` at every one of `milestones`, epochs),
    ``"polynomial"`` (down to 0 with `power`) or ``"cosine"``. With `reference_batch` the rate is
    for batches of that size and is scaled in proportion to the effective one (Goyal et al., 2017).
    """

    lr: PositiveFloat = 0.1
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    weight_decay: NonNegativeFloat = 5e-4
    schedule: Literal["multistep", "polynomial", "cosine"] = "multistep"
    milestones: tuple[PositiveInt, ...] = ()
    gamma: PositiveFloat = 0.1
    power: PositiveFloat = 2.0
    warmup_epochs: NonNegativeFloat = 0.0
    clip_norm: PositiveFloat | None = None
    reference_batch: PositiveInt | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise, got {list(self.milestones)}")
        if self.milestones and self.schedule != "multistep":
            raise ValueError(
                f"milestones belong to schedule 'multistep', and this one is {self.schedule!r}"
            )
        return self


class SpeedConfig(ConfigSection):
    """Ways to compute the same thing faster, see `cdmllab.backbones.Backbone.speed_up`.

    Precision ``"auto"`` is `cdmllab.backbones.fast_precision` of the device; the run's record says
    which it was.
    """

    precision: backbones.Precision | Literal["auto"] = "float32"
    channels_last: bool = False
    checkpointing: bool = False
    compiled: bool = False

    def on(self, device: torch.device) -> backbones.Precision:
        """The precision that a device computes in."""
        return backbones.fast_precision(device) if self.precision == "auto" else self.precision

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.checkpointing and self.compiled:
            raise ValueError(
                "checkpointing and compiled exclude each other: the compiler plans memory by itself"
            )
        return self


class WatchConfig(ConfigSection):
    """What is written while it runs, every so many steps.

    Metrics, checkpoints, validation on `protocols`; on a world of the face lab also what is truly
    hard, see `cdmllab.training.difficulty_probe`.
    """

    log_every: PositiveInt = 20
    checkpoint_every: PositiveInt = 500
    keep: PositiveInt = 2
    validate_every: PositiveInt | None = None
    protocols: Protocols = ()
    truth_every: PositiveInt | None = None
    tensorboard: bool = False

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.validate_every is None) != (not self.protocols):
            raise ValueError("validate_every and protocols go together: when, and on what")
        return self

    def missing(self) -> dict[str, str]:
        """By protocol, how to get those that are not there."""
        return {name: how for name in self.protocols if (how := all_protocols.missing(name))}


class Config(ConfigSection):
    """One training run, complete: the same config gives the same numbers on the same CPU."""

    name: str = Field(max_length=100)
    seed: Seed = 0
    data: DataConfig
    backbone: BackboneConfig
    loss: LossConfig
    optimiser: OptimiserConfig = OptimiserConfig()
    epochs: PositiveInt
    batch_size: int = Field(default=128, ge=2, description="of each process")
    accumulate: PositiveInt = 1
    start_from: str | None = Field(
        default=None, description="a run's folder or a released file: its weights to begin"
    )
    speed: SpeedConfig = SpeedConfig()
    watch: WatchConfig = WatchConfig()
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1, le=1024)

    @field_validator("name")
    @classmethod
    def _shown(cls, name: str) -> str:
        if not name.isprintable() or not name.strip():
            raise ValueError("it names a folder, and must be text that can be printed")
        return name

    @model_validator(mode="after")
    def _together(self) -> Self:
        late = [m for m in self.optimiser.milestones if m >= self.epochs]
        if late:
            raise ValueError(
                f"milestone {late[0]} lies past the end: there are {self.epochs} epochs"
            )
        if self.optimiser.warmup_epochs >= self.epochs:
            raise ValueError(
                f"a warm-up of {self.optimiser.warmup_epochs:g} epochs leaves nothing of "
                f"{self.epochs}"
            )
        return self

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """From plain values, as YAML gives them.

        Raises
        ------
        pydantic.ValidationError : naming every wrong key; it is a ValueError
        """
        return cls.model_validate_json(json.dumps(dict(values), default=str))  # YAML has dates too

    def changed(self, **settings: Any) -> Self:
        """A copy with other values for some top-level settings, checked like a new one."""
        plain = {
            k: v.model_dump(mode="json") if isinstance(v, BaseModel) else v
            for k, v in settings.items()
        }
        return self.parse(self.flat() | plain)

    def in_precision(self, precision: backbones.Precision) -> Self:
        """A copy that is computed in this precision."""
        return self.model_copy(
            update={"speed": self.speed.model_copy(update={"precision": precision})}
        )

    def flat(self) -> dict[str, Any]:
        """Every setting as plain values, defaults included: what the run folder keeps."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain
