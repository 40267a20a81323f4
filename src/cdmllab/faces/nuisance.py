"""What an image adds to a face: factors of known strength, from the hash of (world seed, identity,
index).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cdmllab.faces import hashing


@dataclass(frozen=True)
class Factor:
    """One nuisance factor: its limits, in its unit, and how often and how far a world at full
    strength turns it up.
    """

    low: float
    high: float
    reach: float
    often: float
    unit: str = ""


# The order is part of the format: a new factor goes to the end.
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
# free choices that have no strength: which expression, what the bar looks like, the background
DETAILS = 24


@dataclass(frozen=True)
class Nuisances:
    """The nuisances of b images.

    ``values`` maps every factor to a tensor of shape (b,) in the factor's own unit; ``details`` of
    shape (b, DETAILS) in (0, 1) are choices without a strength; ``keys`` of shape (b,) seed the
    pixel noise.
    """

    values: dict[str, Tensor]
    details: Tensor
    keys: Tensor

    def strengths(self) -> Tensor:
        """Strength of every factor in [0, 1]: shape (b, len(FACTORS)), in the order of
        `FACTORS`.
        """
        return torch.stack(
            [self.values[name].abs() / factor.high for name, factor in FACTORS.items()], dim=1
        )

    def pick(self, rows: Tensor | slice) -> "Nuisances":
        """The nuisances of some of the images."""
        values = {name: value[rows] for name, value in self.values.items()}
        return Nuisances(values, self.details[rows], self.keys[rows])

    def to(self, device: torch.device | str) -> "Nuisances":
        """The same on a device."""
        values = {name: value.to(device) for name, value in self.values.items()}
        return Nuisances(values, self.details.to(device), self.keys.to(device))


def check_factors(factors: Mapping[str, object]) -> None:
    """Refuse a factor that does not exist, naming those that do."""
    for name in factors:
        if name not in FACTORS:
            raise ValueError(
                f"unknown nuisance factor {name!r}; the factors are {', '.join(FACTORS)}"
            )


def nuisances(
    seed: int, identity: Tensor, index: Tensor, *, strength: float = 0.0, **factors: float | Tensor
) -> Nuisances:
    """The nuisances of images `index` of `identity`, both int64 of shape (b,).

    Parameters
    ----------
    strength : how far the drawn nuisances reach, in [0, 1]; 0 is a frontal, sharp, evenly lit
        image
    factors : values that replace the drawn ones, in the unit of `FACTORS`: a number or a tensor of
        shape (b,)

    Raises
    ------
    ValueError for a strength or a factor out of range and for a factor that does not exist.
    """
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength must lie in [0, 1], got {strength}")
    check_factors(factors)
    keys = hashing.key(seed, 0x9C7, identity, index)
    draws = hashing.uniform(keys, 3 * len(FACTORS) + DETAILS)
    values = {}
    for i, (name, factor) in enumerate(FACTORS.items()):
        size, chance, sign = draws[:, 3 * i], draws[:, 3 * i + 1], draws[:, 3 * i + 2]
        if name in factors:
            values[name] = _by_hand(name, factor, factors[name], keys)
            continue
        value = factor.reach * strength * size * (chance < factor.often).float()
        if factor.unit == "degrees":
            value = value * (0.4 + 0.6 * size)  # poses crowd around the front, as in photographs
        values[name] = torch.where(sign < 0.5, -value, value) if factor.low < 0.0 else value
    return Nuisances(values, draws[:, 3 * len(FACTORS) :], hashing.mix(keys + 1))


def _by_hand(name: str, factor: Factor, given: float | Tensor, keys: Tensor) -> Tensor:
    value = torch.as_tensor(given, dtype=torch.float32, device=keys.device).expand(keys.shape)
    wrong = ~((value >= factor.low) & (value <= factor.high))
    if bool(wrong.any()):
        unit = f" {factor.unit}" if factor.unit else ""
        raise ValueError(
            f"{name} must lie in [{factor.low:g}, {factor.high:g}]{unit}, got "
            f"{float(value[wrong][0]):g}"
        )
    return value
