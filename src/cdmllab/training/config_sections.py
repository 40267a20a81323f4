"""The sections of a config: data, network, loss, optimiser, speed, and what is watched."""

from collections.abc import Iterator
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
    """The training set and how it is read; further keys are the set's own options.

    Attributes
    ----------
    name : of a set in `cdmllab.training.datasets`
    augmentation : random changes of the images, see `cdmllab.data.transforms`
    per_identity : the most images of an identity in an epoch; None for all
    workers : threads that read ahead; 0 reads in the training's own thread
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
    """The network; further keys are its options.

    Attributes
    ----------
    name : as for `cdmllab.backbones.create`
    embedding_dim : the dimension of the embedding
    """

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
    """The loss and its scale; further keys are options of `cdmllab.heads.create` or the loss.

    Attributes
    ----------
    name : as for `cdmllab.heads.create`
    scale : s, the factor on cosines
    """

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

    Attributes
    ----------
    lr : the learning rate after the warm-up; with `reference_batch` that of batches of this size,
        scaled in proportion to the effective batch (Goyal et al., 2017)
    momentum : in [0, 1)
    weight_decay : of all parameters
    schedule : ``"multistep"`` multiplies the rate by `gamma` at each epoch of `milestones`,
        ``"polynomial"`` lets it decay to 0 with `power`, ``"cosine"`` along a cosine
    milestones, gamma : of the multistep schedule
    power : of the polynomial schedule
    warmup_epochs : epochs in which the rate rises linearly from 0
    clip_norm : the largest norm of the gradient; None does not clip
    reference_batch : see `lr`
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

    Attributes
    ----------
    precision : ``"auto"`` is `cdmllab.backbones.fast_precision` of the device; the run's record
        holds the precision that was used
    channels_last : the memory order that convolutions prefer on many devices
    checkpointing : compute activations again in the backward pass, for less memory
    compiled : use torch.compile; needs a C++ compiler
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

    Attributes
    ----------
    log_every : steps between two lines of metrics
    checkpoint_every : steps between two checkpoints
    keep : how many checkpoints are kept
    validate_every : steps between two validations on `protocols`; None does not validate
    protocols : of the validation
    truth_every : steps between two comparisons of easiness with the known difficulty, on a world of
        the face lab, see `cdmllab.training.difficulty_probe`
    tensorboard : also write the metrics for TensorBoard
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
