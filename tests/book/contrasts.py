"""Contrast of colours, as WCAG 2 defines it."""

import re


def luminance(colour: str) -> float:
    """From 0 (black) to 1 (white)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """From 1 to 21, of two colours as "#rrggbb"."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def hexadecimal(colour: str) -> str:
    """Converts a colour from the browser's form, "rgb(217, 84, 43)", to "#d9542b"."""
    red, green, blue = (
        int(part) for part in re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", colour).groups()
    )
    return f"#{red:02x}{green:02x}{blue:02x}"
