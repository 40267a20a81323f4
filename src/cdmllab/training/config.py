"""What a training run is made of: frozen pydantic models, in which an unknown key is an error."""

import json
from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from cdmllab import backbones, heads
from cdmllab.training import sources


class Section(BaseModel):
    """Base of all parts of a config: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Named(Section):
    """A thing chosen by name, with the options that this very thing has as further keys."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Every key but those declared here."""
        return dict(self.model_extra or {})


class Data(Named):
    """What is trained on, see `cdmllab.training.sources`."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        sources.check(self.name, self.options)
        return self


class Backbone(Named):
    """The network, see `cdmllab.backbones`."""

    embedding_dim: PositiveInt

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.name not in backbones.names():
            raise ValueError(f"unknown backbone {self.name!r}; there are: {', '.join(backbones.names())}")
        return self


class Loss(Named):
    """The loss and its scale; further keys are the options of `cdmllab.heads.create` and of the loss itself."""

    scale: PositiveFloat = 64.0

    @model_validator(mode="after")
    def _known(self) -> Self:
        with torch.random.fork_rng():  # a head draws its class centres
            heads.create(self.name, embedding_dim=2, num_identities=2, scale=self.scale, **self.options)
        return self


class Optimiser(Section):
    """Stochastic gradient descent with momentum and steps down at milestones."""

    lr: PositiveFloat = 0.1
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    weight_decay: float = Field(default=5e-4, ge=0.0)
    milestones: tuple[PositiveInt, ...] = ()
    gamma: PositiveFloat = 0.1


class Config(Section):
    """One training run, complete: the same config gives the same numbers on the CPU."""

    name: str
    seed: int = 0
    data: Data
    backbone: Backbone
    loss: Loss
    optimiser: Optimiser = Optimiser()
    epochs: PositiveInt
    batch_size: int = Field(default=128, ge=2)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: PositiveInt = 1

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """From plain values, as YAML gives them.

        Raises
        ------
        pydantic.ValidationError : naming every wrong key; it is a ValueError
        """
        return cls.model_validate_json(json.dumps(dict(values)))

    def changed(self, **settings: Any) -> Self:
        """A copy with other values for some top-level settings, checked like a new one."""
        plain = {k: v.model_dump(mode="json") if isinstance(v, BaseModel) else v for k, v in settings.items()}
        return self.parse(self.flat() | plain)

    def flat(self) -> dict[str, Any]:
        """Every setting as plain values, defaults included: what the run folder keeps."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain
