"""Random numbers without a generator state: a counter-based integer hash.

Every number is a pure function of its counters, so an image has the same random choices in every
batch, in every process and on every device. The mixer is the finaliser of SplitMix64 (Steele, Lea
and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
https://doi.org/10.1145/2660193.2660195).
"""

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # torch has only signed 64-bit integers, which wrap around
_FIRST = 0xBF58476D1CE4E5B9 - (1 << 64)
_SECOND = 0x94D049BB133111EB - (1 << 64)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's own is arithmetic and copies the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """Scramble int64 numbers of any shape by a bijection."""
    x = x + _GOLDEN
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def key(*counters: Tensor | int) -> Tensor:
    """An int64 key for each combination of counters.

    The counters broadcast against each other. Their order matters: ``key(1, 2)`` is not
    ``key(2, 1)``.
    """
    state = torch.zeros((), dtype=torch.int64)
    for counter in counters:
        number = torch.as_tensor(counter, dtype=torch.int64)
        # Mixed before and after, so that the order of the counters matters.
        state = mix(state.to(number.device) ^ mix(number))
    return state


def uniform(keys: Tensor, numbers: int) -> Tensor:
    """Uniform numbers in (0, 1] from keys of shape (b,): shape (b, numbers), float32.

    They have 24 random bits. The largest of the 2^24 values rounds to 1; none is 0.
    """
    # As in SplitMix64: the n-th number is mixed from the key plus n times the golden ratio.
    lanes = torch.arange(1, numbers + 1, dtype=torch.int64, device=keys.device)
    bits = _shift(mix(keys[:, None] + lanes * _GOLDEN), 40)  # the upper 24 bits
    drawn: Tensor = (bits.to(torch.float32) + 0.5) / (1 << 24)
    return drawn


def normal(keys: Tensor, numbers: int, bound: float = 2.5) -> Tensor:
    """Standard normal numbers clamped to +-`bound`: shape (b, numbers), float32."""
    drawn: Tensor = torch.erfinv(2.0 * uniform(keys, numbers) - 1.0) * 2.0**0.5
    return drawn.clamp(-bound, bound)


def pixel_noise(keys: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Noise for every pixel, of mean 0 and variance 1: shape (b, channels, height, width).

    Its distribution is triangular. A 32-bit hash is random enough for pixels and several times
    faster than `mix`.
    """
    count = channels * height * width
    # The counter is spread by an odd multiplier before the key is added.
    x = (
        torch.arange(count, dtype=torch.int32, device=keys.device) * 0x2C1B3C6D
        + (keys & 0x7FFFFFFF).to(torch.int32)[:, None]
    )
    # Xor-shift-multiply rounds; the masks make torch's arithmetic shift a logical one.
    x = (x ^ ((x >> 16) & 0xFFFF)) * 0x7FEB352D
    x = (x ^ ((x >> 15) & 0x1FFFF)) * (0x846CA68B - (1 << 32))
    x = x ^ ((x >> 16) & 0xFFFF)
    # The sum of two uniform 16-bit numbers is triangular, with a variance of 1/6 on this scale.
    halves = (x & 0xFFFF) + ((x >> 16) & 0xFFFF)
    noise = (halves.to(torch.float32) / 65535.0 - 1.0) * 6.0**0.5
    pixels: Tensor = noise.view(-1, channels, height, width)
    return pixels
