"""Chapter 14, Large."""

import math
from collections.abc import Callable
from typing import Any

import torch

from cdmllab import preprocessing
from cdmllab.book.exercises.common import number
from cdmllab.heads.cost import cost


def _gigabytes(answer: Any) -> str | None:
    kept = cost(10_000_000, batch=1).kept / 2**30
    problem = number(answer, kept, tolerance=0.3, unit="GiB")
    for wrong, hint in (
        (kept / 3, "That is the centres alone; their gradient and momentum are each as large."),
        (kept * 2 / 3, "Centres, gradient *and* momentum: three tensors of the same size."),
        (kept * 2**30 / 1e9, "That is in gigabytes of 10⁹ bytes; a GiB has 2³⁰ bytes."),
    ):
        if problem and number(answer, wrong, tolerance=0.3) is None:
            return hint
    return problem


def _combined(answer: Any) -> str | None:
    if not callable(answer):
        return "Please give a function of highest [r, b] and total [r, b]."
    logits = torch.randn(4, 5, 30, generator=torch.Generator().manual_seed(14), dtype=torch.float64)
    for stretch, case in ((1.0, ""), (400.0, " for large logits")):  # exp overflows for the second
        z = stretch * logits
        # What each rank knows of its part: the maximum, and the sum of exponentials relative to it.
        highest = z.amax(dim=2)
        total = torch.exp(z - highest.unsqueeze(2)).sum(dim=2)
        got = torch.as_tensor(answer(highest.clone(), total.clone())).double()
        want = torch.logsumexp(z.transpose(0, 1).flatten(1), dim=1)  # of all negatives of all ranks
        if got.shape != want.shape:
            return (
                f"For 4 ranks and 5 samples the result should have shape (5,), but it is "
                f"{tuple(got.shape)}."
            )
        if not torch.isfinite(got).all():
            return (
                f"The result is not finite{case}: subtract the largest of the maxima before you "
                f"take exponentials."
            )
        if torch.allclose(got, want):
            continue
        if torch.allclose(got, total.sum(dim=0).log()):
            return (
                "Each rank has subtracted its own maximum; correct for that before you add the "
                "totals."
            )
        return (
            f"The result of the first sample should be {float(want[0]):.3f}{case}, not "
            f"{float(got[0]):.3f}."
        )
    return None


def _missing(answer: Any) -> str | None:
    problem = number(answer, math.log(10), tolerance=5e-3)
    if problem and number(answer, -math.log(10), tolerance=5e-3) is None:
        return "The size is right, but the exercise asks by how much the loss is *lower*."
    if problem and number(answer, 1.0, tolerance=5e-3) is None:
        return "That is the logarithm to base ten; the loss uses the natural logarithm."
    return problem


def _input(answer: Any) -> str | None:
    if not callable(answer):
        return (
            "Please give a function of uint8 images [b, 3, h, w] and a file's description of its "
            "input."
        )
    images = torch.randint(
        256, (2, 3, 4, 4), generator=torch.Generator().manual_seed(14), dtype=torch.uint8
    )
    kinds = {"insightface": preprocessing.INSIGHTFACE, "AdaFace": preprocessing.ADAFACE,
             "MagFace": preprocessing.MAGFACE}  # fmt: skip
    for name, kind in kinds.items():
        description = {**kind, "size": 4}
        got, want = (
            torch.as_tensor(answer(images.clone(), dict(description))),
            preprocessing.apply(images, description),
        )
        if got.shape != want.shape:
            return f"The shape should stay {tuple(want.shape)}, but it is {tuple(got.shape)}."
        if torch.allclose(got.float(), want, atol=1e-5):
            continue
        if torch.allclose(got.float().flip(1), want, atol=1e-5):
            return f"For {name}'s networks red and blue are swapped."
        largest = float(got.float().abs().max())  # hundreds if nobody divided by 255
        if largest > 10.0:
            return (
                f"For {name}'s networks your values reach {largest:.0f}: mean and std are for "
                f"pixels in [0, 1]."
            )
        return f"For {name}'s networks the values differ from (x / 255 - mean) / std."
    return None


CHECKERS: dict[str, Callable[[Any], str | None]] = {
    "14.1": _gigabytes,
    "14.2": _combined,
    "14.3": _missing,
    "14.4": _input,
}
