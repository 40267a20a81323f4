"""Slow but obvious versions of fast functions, written from the equations with plain loops."""

import math
from collections.abc import Sequence
from itertools import pairwise

Vector = Sequence[float]


def cosine(a: Vector, b: Vector) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / (math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b)))


def combined(
    c: float, m1: float = 1.0, m2: float = 0.0, m3: float = 0.0, beyond_pi: str = "linear"
) -> float:
    """cos(m1 theta + m2) - m3 with the three rules past pi, through the arc cosine."""
    theta = math.acos(max(-1.0, min(1.0, c)))
    total = m1 * theta + m2
    if total <= math.pi or beyond_pi == "none":
        return math.cos(total) - m3
    if beyond_pi == "clip":
        return -1.0 - m3
    push = math.pi - (math.pi - m2) / m1
    return c - push * math.sin(push) - m3


def class_sizes(count: int) -> list[int]:
    """Training images of each identity, where a loss asks for them: 1, 4, 9, ..."""
    return [(j + 1) ** 2 for j in range(count)]


def loss_of(
    name: str,
    embeddings: Sequence[Vector],
    labels: Sequence[int],
    centres: Sequence[Sequence[Vector]],
    scale: float,
) -> list[float]:
    """Sample losses of a loss with default options on its first batch; K centres per identity, and
    `class_sizes` training images of each.
    """
    n, sizes = len(embeddings), class_sizes(len(centres))
    cosines = [[max(cosine(x, w) for w in group) for group in centres] for x in embeddings]
    own = [row[y] for row, y in zip(cosines, labels, strict=True)]
    lengths = [math.sqrt(sum(v * v for v in x)) for x in embeddings]
    others = [
        [c for j, c in enumerate(row) if j != y] for row, y in zip(cosines, labels, strict=True)
    ]

    def arc(c: float, m: float) -> float:
        return combined(c, m2=m)

    if name in ("sphereface2", "uniface"):
        return _one_vs_all(name, own, others, scale)
    target, negatives, extra = list(own), others, [0.0] * n
    if name == "sphereface":
        soft = max(5.0, 1000.0 / 1.12)
        for i, c in enumerate(own):
            total = 4.0 * math.acos(c)
            k = min(int(total // math.pi), 3)
            target[i] = (soft * c + (-1) ** k * math.cos(total) - 2 * k) / (1.0 + soft)
    elif name == "cosface":
        target = [c - 0.35 for c in own]
    elif name in ("arcface", "subcenter_arcface"):
        target = [arc(c, 0.5) for c in own]
    elif name == "arcnegface":
        target = [arc(c, 0.5) for c in own]
        weights = [
            [1.2 * math.exp(-((c - psi) ** 2) / 2.0) for c in row]
            for psi, row in zip(target, others, strict=True)
        ]
        negatives = [
            [t * c + t - 1.0 for t, c in zip(ts, row, strict=True)]
            for ts, row in zip(weights, others, strict=True)
        ]
    elif name == "ldam":
        target = [
            c - 0.5 * (min(sizes) / sizes[y]) ** 0.25 for c, y in zip(own, labels, strict=True)
        ]
    elif name == "dynamic_arcface":
        falls = [size**-0.25 for size in sizes]
        low, high = min(falls), max(falls)
        target = [
            arc(c, 0.05 + 0.45 * (falls[y] - low) / (high - low))
            for c, y in zip(own, labels, strict=True)
        ]
    elif name == "logit_adjustment":  # as a margin for each pair of identities
        negatives = [
            [c + math.log(sizes[j] / sizes[y]) / scale for j, c in enumerate(row) if j != y]
            for row, y in zip(cosines, labels, strict=True)
        ]
    elif name == "combined":
        target = [combined(c, 1.0, 0.3, 0.2) for c in own]
    elif name == "liarcface":
        target = [(math.pi - 2.0 * (math.acos(c) + 0.45)) / math.pi for c in own]
        negatives = [[(math.pi - 2.0 * math.acos(c)) / math.pi for c in row] for row in others]
    elif name == "x2_softmax":
        target = [-0.9 * math.acos(c) ** 2 + 0.65 for c in own]
    elif name == "adacos":
        start = math.sqrt(2.0) * math.log(len(centres) - 1)
        average = sum(sum(math.exp(start * c) for c in row) for row in others) / n
        median = sorted(math.acos(c) for c in own)[(n - 1) // 2]
        scale = max(math.log(average) / math.cos(min(math.pi / 4.0, median)), 1.0)
    elif name == "curricularface":
        t = 0.01 * sum(own) / n
        target = [arc(c, 0.5) for c in own]
        negatives = [
            [c * (t + c) if c > math.cos(math.acos(y) + 0.5) else c for c in row]
            for y, row in zip(own, others, strict=True)
        ]
    elif name == "mv_softmax":
        target = [c - 0.35 for c in own]
        negatives = [
            [1.2 * c + 0.2 if c > y else c for c in row]
            for y, row in zip(target, others, strict=True)
        ]
    elif name == "npcface":
        hard = [
            [c > math.cos(math.acos(y) + 0.5) for c in row]
            for y, row in zip(own, others, strict=True)
        ]
        for i, (y, row) in enumerate(zip(own, others, strict=True)):
            chosen = [c for c, h in zip(row, hard[i], strict=True) if h]
            target[i] = arc(y, 0.4 + 0.2 * (sum(chosen) / len(chosen) if chosen else 0.0))
        negatives = [
            [1.1 * c + 0.2 if h else c for c, h in zip(row, flags, strict=True)]
            for row, flags in zip(others, hard, strict=True)
        ]
    elif name == "magface":
        clipped = [min(max(a, 10.0), 110.0) for a in lengths]
        target = [
            arc(c, 0.45 + 0.35 * (a - 10.0) / 100.0) for c, a in zip(own, clipped, strict=True)
        ]
        extra = [35.0 * (1.0 / a + a / 110.0**2) for a in clipped]
    elif name == "adaface":
        mean = sum(lengths) / n
        std = math.sqrt(sum((a - mean) ** 2 for a in lengths) / (n - 1))
        mean, std = 0.99 * 20.0 + 0.01 * mean, 0.99 * 100.0 + 0.01 * std
        for i, (c, a) in enumerate(zip(own, lengths, strict=True)):
            z = max(-1.0, min(1.0, 0.333 * (a - mean) / (std + 1e-3)))
            total = max(0.0, min(math.pi, math.acos(c) - 0.4 * z))
            target[i] = math.cos(total) - (0.4 + 0.4 * z)
    elif name == "cdml":
        target = [arc(c, 0.49 * (1.2 if c > 0.5 else 0.8)) for c in own]
    elif name != "normface":
        raise ValueError(name)

    losses = []
    for psi, row, more in zip(target, negatives, extra, strict=True):
        rest = sum(math.exp(scale * c) for c in row)
        losses.append(-math.log(math.exp(scale * psi) / (math.exp(scale * psi) + rest)) + more)
    return losses


def _one_vs_all(
    name: str, own: Sequence[float], others: Sequence[Sequence[float]], scale: float
) -> list[float]:
    """Sample losses that are sums of logistic ones."""

    def logistic(z: float) -> float:
        return math.log(1.0 + math.exp(z))

    c = len(others[0]) + 1
    if name == "uniface":
        b = math.log(10.0 * c)
        return [
            logistic(b - scale * (y - 0.4)) + sum(logistic(scale * z - b) for z in row)
            for y, row in zip(own, others, strict=True)
        ]

    def g(z: float) -> float:
        return 2.0 * ((z + 1.0) / 2.0) ** 3 - 1.0

    def imbalance(b: float) -> float:
        """The negatives' total gradient on b minus the positive's, all at 90 degrees."""
        positive, negative = scale * (g(0.0) - 0.4) + b, scale * (g(0.0) + 0.4) + b
        return 0.3 * (c - 1) / (1.0 + math.exp(-negative)) - 0.7 / (1.0 + math.exp(positive))

    low, high = -200.0, 200.0
    for _ in range(200):  # bisection
        middle = (low + high) / 2.0
        low, high = (middle, high) if imbalance(middle) < 0.0 else (low, middle)
    return [
        50.0
        / scale
        * (
            0.7 * logistic(-scale * (g(y) - 0.4) - low)
            + 0.3 * sum(logistic(scale * (g(z) + 0.4) + low) for z in row)
        )
        for y, row in zip(own, others, strict=True)
    ]


def fold_accuracy(
    scores: Sequence[float], same: Sequence[bool], fold: Sequence[int]
) -> list[list[float]]:
    """Accuracies of each fold, one for every threshold that is optimal on the other folds."""
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
