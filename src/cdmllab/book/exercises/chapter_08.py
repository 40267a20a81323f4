"""Chapter 8, IResNet, and how to halve it."""

from collections.abc import Callable, Mapping
from typing import Any

from cdmllab import backbones
from cdmllab.backbones import complexity
from cdmllab.book.exercises.common import is_whole

_LIMIT_PARAMETERS, _LIMIT_MACS = 3_000_000, 450_000_000


def _linear_parameters(answer: Any) -> str | None:
    right = 256 * 8 * 8 * 512 + 512  # weights and biases; 128 pixels give a map of 8 x 8
    if not is_whole(answer):
        return "Please give a whole number."
    if answer == right:
        return None
    if answer == right - 512:
        return "Almost: the layer also has a bias for each of its 512 outputs."
    if answer in (256 * 49 * 512 + 512, 256 * 49 * 512):  # a map of 7 x 7
        return (
            "That is the layer for 112 pixels: 128 pixels, halved four times, give a larger map "
            "than 7 x 7."
        )
    return f"Not yet: {answer:,} is too {'large' if answer > right else 'small'}."


def _macs(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of width_in, width_out, kernel, side and groups."
    # A stem, a pointwise and a depthwise convolution.
    cases = ((3, 32, 3, 112, 1), (64, 128, 1, 28, 1), (128, 128, 3, 14, 128))
    for width_in, width_out, kernel, side, groups in cases:
        # One multiply-accumulate for each output value and each weight that it sees.
        right = width_out * side * side * kernel * kernel * (width_in // groups)
        got = answer(width_in, width_out, kernel, side, groups)
        if got == right:
            continue
        case = (
            f"For {width_in} to {width_out} channels, kernel {kernel}, side {side}, groups {groups}"
        )
        if got == 2 * right:
            return (
                f"{case}, you count multiplications and additions separately: together they are "
                f"one multiply-accumulate."
            )
        if got == right * groups:
            return (
                f"{case}, each output channel sees only its own group, {width_in // groups} of the "
                f"{width_in} channels."
            )
        return f"{case}, there are {right:,} MACs, not {got!r}."
    return None


def _receptive_field(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of a list of (kernel, stride) pairs."
    for layers, right in (
        ([(3, 1)], 3),
        ([(3, 1), (3, 1)], 5),
        ([(3, 2), (3, 1)], 7),
        ([(3, 1), (3, 2), (1, 1), (3, 2), (3, 1)], 17),
    ):
        got = answer(list(layers))
        if got != right:
            return f"After {layers} each value depends on {right} pixels per side, not {got!r}."
    return None


def _small_and_plain(answer: Any) -> str | None:
    if not isinstance(answer, Mapping):
        return 'Please give a dictionary of options, for example {"downsample": "stem"}.'
    changed = {key for key in answer if key not in ("downsample", "flatten")}
    if changed:
        return f"Only downsample and flatten may change, not {', '.join(sorted(changed))}."
    cost = complexity.cost(backbones.create("r18_lite", **answer))
    if cost.parameters >= _LIMIT_PARAMETERS:
        return (
            f"That network has {cost.parameters:,} parameters; which layer has most of them in "
            f"r18_lite?"
        )
    if cost.macs >= _LIMIT_MACS:
        return (
            f"That network has few parameters, but {cost.gmacs:.3f} billion MACs; most can be "
            f"saved where the maps are large."
        )
    return None


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "8.1": _linear_parameters,
    "8.2": _macs,
    "8.3": _receptive_field,
    "8.4": _small_and_plain,
}
