"""What is done to pixels before a network sees them, as plain values that stand beside its weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

Channels = Literal["RGB", "BGR", "GRAY"]


@dataclass(frozen=True)
class Preprocessing:
    """``(x / 255 - mean) / std`` of uint8 pictures of one size, with channels in one order.

    Parameters
    ----------
    height, width : pixels
    channels : ``"RGB"``, ``"BGR"`` or ``"GRAY"``; pictures come as RGB or grey
    mean, std : of all channels, in units of white = 1

    Raises
    ------
    ValueError : a value out of range
    """

    height: int = 112
    width: int = 112
    channels: Channels = "RGB"
    mean: float = 0.5
    std: float = 0.5

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 2:
            raise ValueError(f"height and width must be 2 pixels or more, got {self.height} x {self.width}")
        if self.channels not in get_args(Channels):
            raise ValueError(f"channels must be one of {', '.join(get_args(Channels))}, got {self.channels!r}")
        if not self.std > 0.0:
            raise ValueError(f"std must be positive, got {self.std}")

    @property
    def num_channels(self) -> int:
        """1 or 3."""
        return 1 if self.channels == "GRAY" else 3

    def __call__(self, images: Tensor) -> Tensor:
        """Pictures as the network wants them: uint8 [b, c, h, w] to float32 [b, c, h, w].

        Raises
        ------
        ValueError : pictures of another type, size or number of channels
        """
        wanted = (self.num_channels, self.height, self.width)
        if images.dtype != torch.uint8 or images.ndim != 4 or tuple(images.shape[1:]) != wanted:
            got = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
            raise ValueError(f"pictures must be uint8 of shape (b, {', '.join(map(str, wanted))}), got {got}")
        x = images.flip(1) if self.channels == "BGR" else images
        return x.to(torch.float32).mul_(1.0 / (255.0 * self.std)).sub_(self.mean / self.std)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, to be stored with a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From plain values.

        Raises
        ------
        ValueError : a key is missing or unknown, or a value out of range
        """
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise ValueError(
                f"a preprocessing has the keys {', '.join(sorted(known))}, not {', '.join(sorted(values))}"
            )
        return cls(**values)

    def differences(self, other: "Preprocessing") -> str:
        """Where two differ, in words (``channels RGB, BGR; std 0.5, 1.0``); empty if they are the same."""
        mine, theirs = asdict(self), asdict(other)
        return "; ".join(f"{key} {mine[key]}, {theirs[key]}" for key in mine if mine[key] != theirs[key])

    def require(self, other: "Preprocessing", where: str) -> None:
        """Raise a ValueError, naming `where` the other one comes from, if the two differ."""
        if told := self.differences(other):
            raise ValueError(f"{where} has another preprocessing than the network was trained with: {told}")


# What public checkpoints expect.
INSIGHTFACE = Preprocessing()
ADAFACE = Preprocessing(channels="BGR")
MAGFACE = Preprocessing(channels="BGR", mean=0.0, std=1.0)
