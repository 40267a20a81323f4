"""Random numbers without a random state: a counter-based integer hash.

Every number is a pure function of its counters, so the same image comes out of any batch, process
and device. The mixer is the finaliser of SplitMix64 (G. Steele et al., "Fast splittable
pseudorandom number generators", 2014).
"""

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # as the signed 64-bit number that torch stores
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; torch's own copies the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """Scramble int64 numbers one to one; any shape."""
    x = x + _GOLDEN
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def key(*counters: Tensor | int) -> Tensor:
    """One int64 key for each combination of counters, which broadcast against each other; order
    matters.
    """
    state = torch.zeros((), dtype=torch.int64)
    for counter in counters:
        number = torch.as_tensor(counter, dtype=torch.int64)
        state = mix(state.to(number.device) ^ mix(number))
    return state


def uniform(keys: Tensor, numbers: int) -> Tensor:
    """Numbers in (0, 1) with 24 random bits: shape (b, numbers), float32, from keys of
    shape (b,).
    """
    lanes = torch.arange(1, numbers + 1, dtype=torch.int64, device=keys.device)
    bits = _shift(mix(keys[:, None] + lanes * _GOLDEN), 40)
    drawn: Tensor = (bits.to(torch.float32) + 0.5) / (1 << 24)
    return drawn


def normal(keys: Tensor, numbers: int, bound: float = 2.5) -> Tensor:
    """Standard normal numbers cut at +-`bound`: shape (b, numbers), float32."""
    drawn: Tensor = torch.erfinv(2.0 * uniform(keys, numbers) - 1.0) * 2.0**0.5
    return drawn.clamp(-bound, bound)


def pixel_noise(keys: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Noise of mean 0 and variance 1 (triangular) for every pixel: shape (b, channels, height,
    width).

    A 32-bit hash is enough here and several times faster.
    """
    count = channels * height * width
    x = (
        torch.arange(count, dtype=torch.int32, device=keys.device) * 0x2C1B3C6D
        + (keys & 0x7FFFFFFF).to(torch.int32)[:, None]
    )
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x7FEB352D
    x = (x ^ ((x >> 15) & 0x1FFFF)) * (0x846CA68B - (1 << 32))
    x = x ^ ((x >> 16) & 0xFFFF)
    halves = (x & 0xFFFF) + ((x >> 16) & 0xFFFF)
    noise = (halves.to(torch.float32) / 65535.0 - 1.0) * 6.0**0.5
    pixels: Tensor = noise.view(-1, channels, height, width)
    return pixels
