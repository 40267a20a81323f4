"""Slow, obvious versions of what the package does fast: written from the equations, one number at a time."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

Vector = Sequence[float]


def cosine(a: Vector, b: Vector) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / (math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b)))


def margin_softmax(
    embeddings: Sequence[Vector],
    labels: Sequence[int],
    centres: Sequence[Vector],
    scale: float,
    target: Callable[[int, list[float]], float],
) -> list[float]:
    """Loss of each sample: -log softmax with target(sample, its cosines) in the place of the own cosine."""
    losses = []
    for i, (x, y) in enumerate(zip(embeddings, labels, strict=True)):
        cosines = [cosine(x, w) for w in centres]
        own = math.exp(scale * target(i, cosines))
        others = sum(math.exp(scale * c) for j, c in enumerate(cosines) if j != y)
        losses.append(-math.log(own / (own + others)))
    return losses


def combined(c: float, m1: float = 1.0, m2: float = 0.0, m3: float = 0.0, beyond_pi: str = "linear") -> float:
    """cos(m1 theta + m2) - m3 with the three rules past pi, through the arc cosine."""
    theta = math.acos(max(-1.0, min(1.0, c)))
    total = m1 * theta + m2
    if total <= math.pi or beyond_pi == "none":
        return math.cos(total) - m3
    if beyond_pi == "clip":
        return -1.0 - m3
    push = math.pi - (math.pi - m2) / m1
    return c - push * math.sin(push) - m3


def fold_accuracy(scores: Sequence[float], same: Sequence[bool], fold: Sequence[int]) -> list[list[float]]:
    """Accuracies of each fold, one for every threshold that is best on the others."""
    values = sorted(set(scores))
    edges = [
        values[0] - 1.0,
        *((a + b) / 2 for a, b in pairwise(values)),
        values[-1] + 1.0,
    ]
    result = []
    for k in sorted(set(fold)):
        rest = [(s, y) for s, y, f in zip(scores, same, fold, strict=True) if f != k]
        mine = [(s, y) for s, y, f in zip(scores, same, fold, strict=True) if f == k]
        right = [sum((s >= t) == y for s, y in rest) for t in edges]
        best = [t for t, r in zip(edges, right, strict=True) if r == max(right)]
        result.append([sum((s >= t) == y for s, y in mine) / len(mine) for t in best])
    return result
