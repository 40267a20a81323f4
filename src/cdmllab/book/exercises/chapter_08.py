"""Chapter 8, IResNet, and how to halve it."""

from collections.abc import Callable, Mapping
from typing import Any

from cdmllab import backbones
from cdmllab.backbones import complexity
from cdmllab.book.exercises.common import is_whole

_LIMIT_PARAMETERS, _LIMIT_MACS = 3_000_000, 450_000_000


def _linear_parameters(answer: Any) -> str | None:
    right = 256 * 8 * 8 * 512 + 512
    if not is_whole(answer):
        return "A whole number is wanted."
    if answer == right:
        return None
    if answer == right - 512:
        return "Almost: the layer also has a bias for each of its 512 outputs."
    if answer in (256 * 49 * 512 + 512, 256 * 49 * 512):
        return (
            "That is the layer for 112 pixels: 128 pixels, halved four times, leave a larger map "
            "than 7 x 7."
        )
    return f"{answer:,} is too {'large' if answer > right else 'small'}."


def _macs(answer: Any) -> str | None:
    if not callable(answer):
        return "A function of width_in, width_out, kernel, side and groups is wanted."
    cases = ((3, 32, 3, 112, 1), (64, 128, 1, 28, 1), (128, 128, 3, 14, 128))
    for width_in, width_out, kernel, side, groups in cases:
        right = width_out * side * side * kernel * kernel * (width_in // groups)
        got = answer(width_in, width_out, kernel, side, groups)
        if got == right:
            continue
        case = (
            f"For {width_in} to {width_out} channels, kernel {kernel}, side {side}, groups {groups}"
        )
        if got == 2 * right:
            return f"{case} you count additions too: a multiply-accumulate is one."
        if got == right * groups:
            return (
                f"{case} each output channel sees its own group only, {width_in // groups} of the "
                f"{width_in} channels."
            )
        return f"{case} there are {right:,} MACs, not {got!r}."
    return None


def _receptive_field(answer: Any) -> str | None:
    if not callable(answer):
        return "A function of a list of (kernel, stride) is wanted."
    for layers, right in (
        ([(3, 1)], 3),
        ([(3, 1), (3, 1)], 5),
        ([(3, 2), (3, 1)], 7),
        ([(3, 1), (3, 2), (1, 1), (3, 2), (3, 1)], 17),
    ):
        got = answer(list(layers))
        if got != right:
            return f"After {layers} one number depends on {right} pixels a side, not {got!r}."
    return None


def _small_and_plain(answer: Any) -> str | None:
    if not isinstance(answer, Mapping):
        return 'A dictionary of options is wanted, {"downsample": "stem"} for example.'
    changed = {key for key in answer if key not in ("downsample", "flatten")}
    if changed:
        return f"Only downsample and flatten may change, not {', '.join(sorted(changed))}."
    cost = complexity.cost(backbones.create("r18_lite", **answer))
    if cost.parameters >= _LIMIT_PARAMETERS:
        return (
            f"That network has {cost.parameters:,} parameters; what holds most of them in r18_lite?"
        )
    if cost.macs >= _LIMIT_MACS:
        return (
            f"Few parameters, but {cost.gmacs:.3f} billion MACs; these are saved where maps are "
            f"large."
        )
    return None


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "8.1": _linear_parameters,
    "8.2": _macs,
    "8.3": _receptive_field,
    "8.4": _small_and_plain,
}
