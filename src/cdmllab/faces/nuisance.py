"""Nuisances: what an image adds to a face, as factors of known strength.

They are hashed from world seed, identity and index of the image.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cdmllab.faces import hashing


@dataclass(frozen=True)
class Factor:
    """A nuisance factor: its range, and its distribution in a world of strength 1."""

    low: float  # of the allowed values, in `unit`
    high: float
    reach: float  # largest absolute value in a world, in `unit`
    often: float  # share of a world's images in which it is not 0
    unit: str = ""


# The order is part of the format: add new factors at the end, or every image changes.
FACTORS: dict[str, Factor] = {
    "yaw": Factor(-90.0, 90.0, 90.0, 1.0, "degrees"),
    "pitch": Factor(-45.0, 45.0, 35.0, 1.0, "degrees"),
    "roll": Factor(-45.0, 45.0, 30.0, 1.0, "degrees"),
    "light_azimuth": Factor(-90.0, 90.0, 90.0, 1.0, "degrees"),
    "contrast": Factor(0.0, 1.0, 1.0, 1.0),
    "expression": Factor(0.0, 1.0, 1.0, 0.8),
    "age": Factor(0.0, 1.0, 1.0, 1.0),
    "glasses": Factor(0.0, 1.0, 1.0, 0.25),
    "mask": Factor(0.0, 1.0, 1.0, 0.10),
    "occlusion": Factor(0.0, 1.0, 1.0, 0.2),
    "blur": Factor(0.0, 1.0, 1.0, 0.4),
    "noise": Factor(0.0, 1.0, 1.0, 0.5),
    "exposure": Factor(-1.0, 1.0, 1.0, 1.0),
    "low_resolution": Factor(0.0, 1.0, 1.0, 0.3),
    "restyling": Factor(0.0, 1.0, 1.0, 0.6),
    "colour_cast": Factor(-1.0, 1.0, 1.0, 1.0),
}
# The number of random choices without a strength: which expression, which background, and so on.
DETAILS = 24


@dataclass(frozen=True)
class Nuisances:
    """The nuisances of b images.

    Attributes
    ----------
    values : for every factor a tensor of shape (b,), in the factor's unit
    details : choices without a strength, in (0, 1], shape (b, DETAILS)
    keys : seeds of pixel noise and restyling, shape (b,)
    """

    values: dict[str, Tensor]
    details: Tensor
    keys: Tensor

    def strengths(self) -> Tensor:
        """Strength of every factor in [0, 1]: shape (b, len(FACTORS)), in their order."""
        return torch.stack(
            [self.values[name].abs() / factor.high for name, factor in FACTORS.items()], dim=1
        )

    def pick(self, rows: Tensor | slice) -> "Nuisances":
        """The nuisances of some of the images."""
        values = {name: value[rows] for name, value in self.values.items()}
        return Nuisances(values, self.details[rows], self.keys[rows])

    def to(self, device: torch.device | str) -> "Nuisances":
        """A copy on a device."""
        values = {name: value.to(device) for name, value in self.values.items()}
        return Nuisances(values, self.details.to(device), self.keys.to(device))


def check_factors(factors: Mapping[str, object]) -> None:
    """Reject the name of a factor that does not exist.

    Raises
    ------
    ValueError : names the unknown factor and lists those that exist
    """
    for name in factors:
        if name not in FACTORS:
            raise ValueError(
                f"unknown nuisance factor {name!r}; the factors are {', '.join(FACTORS)}"
            )


def nuisances(
    seed: int, identity: Tensor, index: Tensor, *, strength: float = 0.0, **factors: float | Tensor
) -> Nuisances:
    """Draw the nuisances of images.

    Parameters
    ----------
    identity, index : number of the person, and of the image of that person; int64, shape (b,)
    strength : scale of the drawn values, in [0, 1]; 0 is a frontal, sharp, evenly lit image
    factors : fixed values that replace the drawn ones, in the unit of `FACTORS`: a number or a
        tensor of shape (b,)

    Raises
    ------
    ValueError : the strength or a factor is out of range, or a factor does not exist
    """
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength must lie in [0, 1], got {strength}")
    check_factors(factors)
    keys = hashing.key(seed, 0x9C7, identity, index)
    # Three draws per factor, used or not: fixing one factor leaves all others unchanged.
    draws = hashing.uniform(keys, 3 * len(FACTORS) + DETAILS)
    values = {}
    for i, (name, factor) in enumerate(FACTORS.items()):
        size, chance, sign = draws[:, 3 * i], draws[:, 3 * i + 1], draws[:, 3 * i + 2]
        if name in factors:
            values[name] = _fixed(name, factor, factors[name], keys)
            continue
        # Only a share `often` of the images has the factor at all.
        value = factor.reach * strength * size * (chance < factor.often).float()
        if factor.unit == "degrees":
            value = value * (0.4 + 0.6 * size)  # mostly near frontal, as in photographs
        values[name] = torch.where(sign < 0.5, -value, value) if factor.low < 0.0 else value
    # The keys of pixel noise and restyling are unrelated to the draws.
    return Nuisances(values, draws[:, 3 * len(FACTORS) :], hashing.mix(keys + 1))


def _fixed(name: str, factor: Factor, given: float | Tensor, keys: Tensor) -> Tensor:
    """A given value for every image, checked."""
    value = torch.as_tensor(given, dtype=torch.float32, device=keys.device).expand(keys.shape)
    # Negated, so that NaN counts as out of range too.
    wrong = ~((value >= factor.low) & (value <= factor.high))
    if bool(wrong.any()):
        unit = f" {factor.unit}" if factor.unit else ""
        raise ValueError(
            f"{name} must lie in [{factor.low:g}, {factor.high:g}]{unit}, got "
            f"{float(value[wrong][0]):g}"
        )
    return value
