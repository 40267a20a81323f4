"""The config of a training run: frozen pydantic models that refuse unknown keys."""

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
    """Base class of all sections of a config: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@contextmanager
def _buildable() -> Iterator[None]:
    """Turn whatever a constructor raises for an option into an error of the config."""
    try:
        yield
    # pydantic adds the key to a ValueError, but lets other kinds of errors through.
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
# 8 GB of float32: a mistyped width is refused before memory is allocated.
_MOST_PARAMETERS = 2_000_000_000

Protocols = Annotated[tuple[str, ...], AfterValidator(_matching)]
"""Names of protocols, their files, and patterns such as ``lab/*``, which are expanded."""


class Named(ConfigSection):
    """A component chosen by name; its options are further keys of the section."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """All keys that are not fields of this section."""
        return dict(self.model_extra or {})


class DataConfig(Named):
    """The training set, see `cdmllab.training.datasets`, and how it is read.

    `per_identity` limits the images per identity in an epoch; `workers` is the number of threads
    that read ahead.
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
                f"unknown augmentation {self.augmentation!r}{hint}; choose one of "
                f"{', '.join(AUGMENTATIONS)}"
            )
        return self


class BackboneConfig(Named):
    """The network, see `cdmllab.backbones`; further keys are its options."""

    embedding_dim: PositiveInt

    @model_validator(mode="after")
    def _known(self) -> Self:
        with _buildable(), torch.device("meta"):  # allocates no memory
            count = sum(parameter.numel() for parameter in self.build().parameters())
        if count > _MOST_PARAMETERS:
            raise ValueError(
                f"the network has {count:,} parameters; at most {_MOST_PARAMETERS:,} are allowed"
            )
        return self

    def build(self) -> backbones.Backbone:
        """Create a new network."""
        return backbones.create(self.name, embedding_dim=self.embedding_dim, **self.options)


class LossConfig(Named):
    """The loss and its scale; further keys are options of `cdmllab.heads.create` or the loss."""

    scale: PositiveFloat = 64.0

    @model_validator(mode="after")
    def _known(self) -> Self:
        if "class_sizes" in self.options:
            raise ValueError("class_sizes are counted from the training data, not set in a config")
        with _buildable(), torch.random.fork_rng():  # creating a head draws random class centres
            options.check(heads.create, self.options)
            if self.name in margins.names():
                options.check(margins.builder(self.name), self.options)
            # The smallest possible head, only to find out whether the options are valid.
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
        """Create a new head by `cdmllab.heads.create`; options may override `seed`."""
        # The run's seed is also that of random margins and of the sampling of identities.
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
        # A seed among the options has priority over the run's seed.
        return heads.create(self.name, scale=self.scale, **size, **{**seeds, **self.options})


class OptimiserConfig(ConfigSection):
    """Stochastic gradient descent with momentum, and the schedule of its learning rate.

    `schedule` is ``"multistep"`` (multiply by `gamma` at each epoch of `milestones`),
    ``"polynomial"`` (decay to 0 with `power`) or ``"cosine"``. With `reference_batch`, `lr` is for
    batches of that size and is scaled in proportion to the effective batch (Goyal et al., 2017).
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
            raise ValueError(f"milestones must be in ascending order, got {list(self.milestones)}")
        if self.milestones and self.schedule != "multistep":
            raise ValueError(f"milestones need schedule 'multistep', but it is {self.schedule!r}")
        return self


class SpeedConfig(ConfigSection):
    """Ways to compute the same training faster, see `cdmllab.backbones.Backbone.speed_up`.

    Precision ``"auto"`` is `cdmllab.backbones.fast_precision` of the device; the run's record holds
    the precision that was used.
    """

    precision: backbones.Precision | Literal["auto"] = "float32"
    channels_last: bool = False
    checkpointing: bool = False
    compiled: bool = False

    def on(self, device: torch.device) -> backbones.Precision:
        """The precision used on a device."""
        return backbones.fast_precision(device) if self.precision == "auto" else self.precision

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.checkpointing and self.compiled:
            raise ValueError(
                "checkpointing and compiled exclude each other: the compiler plans memory itself"
            )
        return self


class WatchConfig(ConfigSection):
    """What is recorded during training, and after how many steps.

    Metrics, checkpoints, and validation on `protocols`. On a world of the face lab also scores
    against the known difficulty, see `cdmllab.training.difficulty_probe`.
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
        if (self.validate_every is None) != (not self.protocols):  # only one is set
            raise ValueError("validate_every and protocols need each other: set both or neither")
        return self

    def missing(self) -> dict[str, str]:
        """By protocol, how to get missing data."""
        return {
            name: instructions
            for name in self.protocols
            if (instructions := all_protocols.missing(name))
        }


class Config(ConfigSection):
    """A complete training run: the same config gives the same numbers on the same CPU."""

    name: str = Field(max_length=100)
    seed: Seed = 0
    data: DataConfig
    backbone: BackboneConfig
    loss: LossConfig
    optimiser: OptimiserConfig = OptimiserConfig()
    epochs: int = Field(ge=1, le=1_000_000)
    batch_size: int = Field(default=128, ge=2, description="per process")
    accumulate: PositiveInt = 1
    start_from: str | None = Field(
        default=None, description="a run's folder or a released file with the initial weights"
    )
    speed: SpeedConfig = SpeedConfig()
    watch: WatchConfig = WatchConfig()
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=1, ge=1, le=1024)

    @field_validator("name")
    @classmethod
    def _shown(cls, name: str) -> str:
        if not name.isprintable() or not name.strip():
            raise ValueError("must be printable text, since it names a folder")
        return name

    @model_validator(mode="after")
    def _together(self) -> Self:
        late = [m for m in self.optimiser.milestones if m >= self.epochs]
        if late:
            raise ValueError(
                f"milestone {late[0]} is after the end: the run has {self.epochs} epochs"
            )
        if self.optimiser.warmup_epochs >= self.epochs:
            raise ValueError(
                f"a warm-up of {self.optimiser.warmup_epochs:g} epochs must be shorter than all "
                f"{self.epochs}"
            )
        return self

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Create a config from plain values, such as those of a YAML file.

        Raises
        ------
        pydantic.ValidationError : names every wrong key; it is a ValueError
        """
        # As JSON, in which strict models accept an array for a tuple. YAML values may be dates.
        return cls.model_validate_json(json.dumps(dict(values), default=str))

    def changed(self, **settings: Any) -> Self:
        """A copy with other values for some top-level settings, validated like a new config."""
        plain = {
            k: v.model_dump(mode="json") if isinstance(v, BaseModel) else v
            for k, v in settings.items()
        }
        return self.parse(self.flat() | plain)

    def in_precision(self, precision: backbones.Precision) -> Self:
        """A copy with this precision."""
        return self.model_copy(
            update={"speed": self.speed.model_copy(update={"precision": precision})}
        )

    def flat(self) -> dict[str, Any]:
        """All settings as plain values, including defaults, as stored in the run's folder."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain
