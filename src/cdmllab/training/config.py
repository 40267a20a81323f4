"""The config of a training run: frozen pydantic models that refuse unknown keys."""

import json
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, PositiveInt, field_validator, model_validator

from cdmllab import backbones
from cdmllab.training.config_sections import (
    BackboneConfig,
    ConfigSection,
    DataConfig,
    LossConfig,
    OptimiserConfig,
    Seed,
    SpeedConfig,
    WatchConfig,
)


class Config(ConfigSection):
    """A complete training run: the same config gives the same numbers on the same CPU.

    Attributes
    ----------
    name : names the run's folder
    seed : of the weights, the order of images and everything else that is random
    data, backbone, loss, optimiser, speed, watch : the sections
    epochs : passes over the training set
    batch_size : images in a batch of one process
    accumulate : batches whose gradients are added for one step
    start_from : a run's folder or a released file with the initial weights; None draws them
    device : ``"cpu"`` or ``"cuda"``
    threads : of torch on the CPU; another number may round differently
    """

    name: str = Field(max_length=100)
    seed: Seed = 0
    data: DataConfig
    backbone: BackboneConfig
    loss: LossConfig
    optimiser: OptimiserConfig = OptimiserConfig()
    epochs: int = Field(ge=1, le=1_000_000)
    batch_size: int = Field(default=128, ge=2)
    accumulate: PositiveInt = 1
    start_from: str | None = None
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
