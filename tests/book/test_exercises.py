import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from cdmllab import margins
from cdmllab.book import exercises
from cdmllab.data.recordio import WORD
from cdmllab.faces import difficulty
from cdmllab.margins import registry
from cdmllab.results.paired import pairs_for_equivalence


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def effective_dim(values):
    return (values**2).sum() ** 2 / (values**4).sum()


def spread(x):
    return np.linalg.svd(x - x.mean(axis=0), compute_uv=False)


def nearest(w):
    cosines = unit(w) @ unit(w).T - 2 * np.eye(len(w))
    return np.degrees(np.arccos(cosines.max(axis=1).clip(-1, 1)))


def prepared(x, kind):
    x = x.flip(1) if kind["channels"] == "BGR" else x
    mean, std = (torch.tensor(kind[key]).view(-1, 1, 1) for key in ("mean", "std"))
    return (x / 255 - mean) / std


def receptive_field(layers):
    field, jump = 1, 1
    for kernel, stride in layers:
        field, jump = field + (kernel - 1) * jump, jump * stride
    return field


def decided(mean, spread, seeds, bound):
    """The verdict on a difference by Student's intervals of 95 and 90 %."""
    error, degrees = spread / seeds**0.5, seeds - 1
    differs = abs(mean) > stats.t.ppf(0.975, degrees) * error
    small = abs(mean) + stats.t.ppf(0.95, degrees) * error < bound
    if differs:
        return "too small to matter" if small else "different"
    return "equivalent" if small else "inconclusive"


RIGHT = {
    "1.1": [36.87, math.degrees(math.acos(0.8))],
    "1.2": [lambda x, w: F.normalize(x) @ F.normalize(w).T],
    "1.3": [0.65, 0.7, 0.78],
    "2.1": [30.7, 120.7],
    "2.2": [lambda c, m: c * math.cos(m) - (1 - c * c).clamp_min(0).sqrt() * math.sin(m)],
    "2.3": [151.35],
    "3.1": [1.154, 1.1543],
    "3.2": [48.9, 48.88],
    "3.3": [
        lambda x, g: (
            (g - (g * F.normalize(x)).sum(1, keepdim=True) * F.normalize(x))
            / x.norm(dim=1, keepdim=True)
        )
    ],
    "3.4": [
        lambda c, m: c * math.cos(m) - (1 - c * c).clamp_min(1e-7).sqrt() * math.sin(m),
        lambda c, m: torch.cos(torch.acos(c.clamp(1e-6 - 1, 1 - 1e-6)) + m),
    ],
    "4.1": [(0.588, 0.392), [0.588, 0.392]],
    "4.2": [0.57],
    "4.3": [lambda e, m, alpha: m * (1 + alpha * (e - e.mean()))],
    "4.4": [0.5684],
    "4.5": [
        {"favour": "hard", "shape": "linear", "match_mean": True, "margin_rad": 0.5},
        {
            "favour": "hard",
            "shape": "linear",
            "match_mean": True,
            "margin_rad": 0.5,
            "easiness": "gap",
            "alpha": 0.1,
        },
        {
            "favour": "hard",
            "shape": "linear",
            "match_mean": True,
            "margin_rad": 0.5,
            "easiness": "angle_gap",
        },
    ],
    "6.1": [800, 800.0],
    "6.2": [89.6],
    "6.3": [
        lambda s: sum(np.interp(s[f], difficulty.STRENGTHS, difficulty.known().lost[f]) for f in s)
    ],
    "7.1": [1012, 1012.0],
    "7.2": [lambda p: 1 + sum(p[k : k + 4] == WORD for k in range(0, len(p) - 3, 4))],
    "7.3": [lambda y, a, b: np.flatnonzero(~np.isin(y, y[np.concatenate([a, b])]))],
    "11.1": [0.00025, 1 / 4000],
    "11.2": [
        lambda genuine, impostor, far: (
            genuine > np.sort(impostor)[::-1][int(far * len(impostor))]
        ).mean()
    ],
    "11.3": [0.38],
    "11.4": [lambda e, m: (s := sum(e[m == k].mean(0) for k in np.unique(m))) / np.linalg.norm(s)],
    "5.1": [0.8],
    "5.2": [lambda e, share: np.sort(np.argsort(e)[: round(share * len(e))])],
    "5.3": [0.45, np.float64(0.45)],
    "9.1": [153_280],
    "9.2": [lambda epoch: 0.1 * 0.1 ** sum(epoch >= m for m in (15, 25, 35))],
    "9.3": [68.4, 68.43],
    "12.1": [0.145, 0.46 / math.sqrt(10)],
    "12.2": [49],
    "12.3": [
        lambda d: (
            "higher"
            if d.mean() > 2.201 * d.std(ddof=1) / 12**0.5
            else "lower"
            if -d.mean() > 2.201 * d.std(ddof=1) / 12**0.5
            else "not distinguishable"
        )
    ],
    "13.1": [0.48],
    "13.2": [72.84, math.degrees(math.acos(0.295))],
    "13.3": [lambda policy, batch: policy.margin_rad(batch).mean()],
    "8.1": [8_389_120],
    "8.2": [lambda i, o, k, s, g: o * s * s * k * k * i // g],
    "8.3": [receptive_field],
    "8.4": [{"flatten": "depthwise", "downsample": "early"}],
    "10.1": [101.54, math.degrees(math.acos(-1 / 5))],
    "10.2": [2.53, math.degrees(1 / math.sqrt(512))],
    "10.3": [nearest],
    "10.4": [lambda x: effective_dim(spread(unit(x)))],
    "14.1": [57.2, 12 * 512 * 1e7 / 2**30],
    "14.2": [
        lambda highest, total: torch.logsumexp(highest + total.log(), dim=0),
        lambda highest, total: (
            highest.amax(0) + (total * torch.exp(highest - highest.amax(0))).sum(0).log()
        ),
    ],
    "14.3": [2.303, math.log(10)],
    "14.4": [prepared],
    "15.1": [35.8, math.degrees(0.625)],
    "15.2": [lambda c, z, m: torch.cos(torch.acos(c) - m * z) - m * (1 + z)],
    "15.3": ["shortface"],
    "15.4": [65.5, 66],
    "16.1": [1 / 9, 0.111],
    "16.2": [
        lambda q, rate: ~np.array([(q <= x).sum() <= rate * len(q) for x in q]),
    ],
    "16.3": [0.0977],
    "17.1": [decided],
    "17.2": [64],
    "17.3": [56, pairs_for_equivalence(0.005, 0.002)],
}
WRONG = {
    "1.1": [
        (0.6435, "radians"),
        (0.8, "That is the cosine"),
        (50.0, "too large"),
        ("37", "number"),
    ],
    "1.2": [
        (lambda x, w: x @ w.T, "lengths"),
        (lambda x, w: x @ F.normalize(w).T, "embeddings do not"),
        (lambda x, w: F.normalize(x) @ w.T, "centres do not"),
        (lambda x, w: w @ x.T, r"\[5, 3\]"),
        (lambda x, w: 1 / 0, "ZeroDivisionError"),
        (3, "function"),
    ],
    "1.3": [(0.5, "2 of the six"), (0.95, "3 of the six"), ("0.65", "one number")],
    "2.1": [(60.0, "CosFace is larger"), (5.0, "ArcFace is larger")],
    "2.2": [
        (lambda c, m: c - m, "CosFace"),
        (lambda c, m: torch.cos(torch.acos(c) - m), "reversed"),
        (lambda c, m: torch.cos(torch.acos(c) + m), "arc cosine"),
        (lambda c, m: (c.arccos() + m).cos(), "arc cosine"),
        (lambda c, m: c[:3], "shape"),
        (lambda c, m: c, "differ"),
    ],
    "2.3": [(180.0, "too large"), (True, "number")],
    "5.1": [(-0.8, "sign"), (0.8381, "ranks"), (0.5, "too small")],
    "5.2": [
        (lambda e, s: np.sort(np.argsort(-e)[: round(s * len(e))]), "easiest"),
        (lambda e, s: [0], "shape"),
        (lambda e, s: np.argsort(e)[: round(s * len(e))], "ascending order"),
        (2, "function"),
        (lambda e, s: np.arange(round(s * len(e))), "lowest easiness"),
    ],
    "5.3": [
        (0.9, "recall"),
        (0.55, "whose label was right"),
        (0.95, "too large"),
        ("precision", "number"),
    ],
    "9.1": [
        (3832, "one epoch"),
        (153_320, "every single epoch"),
        (10, "too small"),
        ("x", "number"),
    ],
    "9.2": [
        (lambda epoch: 0.1, "In epoch 15"),
        (0.1, "function"),
        (lambda epoch: 0.1 * 0.1 ** sum(epoch > m for m in (15, 25, 35)), "count from 0"),
    ],
    "9.3": [(547.4, "share it"), (22.8, "centres alone"), (100, "too large")],
    "12.1": [(0.046, "square root"), (0.46, "too large")],
    "12.2": [(7, "the square"), (50, "too large")],
    "12.3": [
        (lambda d: "higher" if d.mean() > 0 else "lower", "contains zero"),
        (lambda d: "not distinguishable", "are 'higher'"),
        ("higher", "function"),
    ],
    "13.1": [
        (0.62, "one minus the gap"),
        (0.5, "no floor"),
        (0.588, "DATN's page"),
        (0.6, "too large"),
        ("0.48", "number"),
    ],
    "13.2": [(1.271, "radians"), (45.17, "one minus the cosine"), (90.0, "too large")],
    "13.3": [
        (lambda p, b: p.base_margin_rad, "base margin"),
        (lambda p, b: 0.1, "mean margin is"),
        (0.5, "function"),
    ],
    "3.1": [
        (1 / 1.1543, "inverse ratio"),
        (math.cos(math.pi / 3 + 0.5) / 0.5, "cosines"),
        (2.0, "too large"),
        ("1.15", "number"),
    ],
    "3.2": [(77.53, "theta + m"), (53.0, "too large"), (0.85, "too small")],
    "3.3": [
        (lambda x, g: g / x.norm(dim=1, keepdim=True), "component along x"),
        (
            lambda x, g: g - (g * F.normalize(x)).sum(1, keepdim=True) * F.normalize(x),
            "length of x",
        ),
        (lambda x, g: g, "autograd"),
        (lambda x, g: g[0], "shape"),
        (1, "function"),
    ],
    "3.4": [
        (lambda c, m: torch.cos(torch.acos(c) + m), "At c = 1 in float32 the gradient is inf"),
        (lambda c, m: torch.cos(torch.acos(torch.where(c == 1, 0.9999, c)) + m), "At c = -1"),
        (
            lambda c, m: c + (torch.cos(torch.acos(c.clamp(-1, 1)) + m) - c).detach(),
            "of another function",
        ),
        (lambda c, m: c - m, "well inside"),
        (0, "function"),
    ],
    "4.1": [
        ((0.392, 0.588), "opposite sign"),
        ((0.49, 0.49), "either side"),
        ((0.6, 0.4), "1.2"),
        (0.588, "pair"),
    ],
    "4.2": [(0.53, "minus the gap"), (0.7, "That is h"), (0.1, "too small"), ("h", "number")],
    "4.3": [
        (lambda e, m, alpha: m * (1 + alpha * e), "mean margin is 0.526"),
        (lambda e, m, alpha: m + alpha * (e - e.mean()), "mean is right"),
        (lambda e, m, alpha: e[:2], "shape"),
        (0, "function"),
    ],
    "4.4": [(0.49, "base margin"), (0.588, "easy ones"), (0.4116, "too small")],
    "4.5": [
        ({"favour": "hard", "shape": "linear", "margin_rad": 0.5}, "mean margin is"),
        ({"favour": "hard", "match_mean": True, "margin_rad": 0.5}, "same margin"),
        ({"shape": "linear", "match_mean": True, "margin_rad": 0.5}, "easy samples"),
        ({"favour": "hard", "shape": "linear", "match_mean": True, "easiness": "known"}, "oracle"),
        ({"favor": "hard"}, "ValueError"),
        ("hard", "dictionary"),
    ],
    "6.1": [(80, "too small"), ("800", "number")],
    "6.2": [(128.0, "strangers"), (85.2, "truncation"), (64, "too small")],
    "6.3": [
        (lambda s: 0.0, "add up to"),
        (lambda s: sum(s.values()), "add up to"),
        (1.0, "function"),
    ],
    "7.1": [
        (1001, "payload alone"),
        (1009, "multiple of 4"),
        (1004, "two words"),
        (1033, "24 bytes"),
        (2000, "too large"),
        ("1012", "number"),
    ],
    "7.2": [
        (lambda p: p.count(WORD) + 1, "only at a multiple of 4"),
        (lambda p: 7, "part, not 7"),
        (lambda p: sum(p[k : k + 4] == WORD for k in range(0, len(p), 4)), "n + 1 parts"),
        (2, "function"),
    ],
    "7.3": [
        (
            lambda y, a, b: np.setdiff1d(np.arange(len(y)), [*a, *b]),
            "other images of the same people",
        ),
        (lambda y, a, b: np.arange(len(y)), "Row 0 shows a person"),
        (lambda y, a, b: [6], "[7, 8]"),
        (3, "function"),
    ],
    "11.1": [
        (1 / 6000, "genuine pairs do not count"),
        (1 / 2000, "step of the TAR"),
        (0.1, "too large"),
    ],
    "11.2": [
        (lambda g, i, far: (g > np.quantile(i, 1 - far)).mean(), "instead of"),
        (
            lambda g, i, far: (g >= np.sort(i)[::-1][int(far * len(i))]).mean(),
            "for tied scores",
        ),
        (0.5, "function"),
    ],
    "11.3": [
        (0.62, "cosine distance"),
        (1 - 1.24**2 / 2, "already the squared distance"),
        (1.0, "too large"),
    ],
    "11.4": [
        (lambda e, m: e.mean(0) / np.linalg.norm(e.mean(0)), "average within it first"),
        (lambda e, m: sum(e[m == k].mean(0) for k in np.unique(m)), "length should be 1"),
        (lambda e, m: e, "shape"),
        (lambda e, m: e[0] / np.linalg.norm(e[0]), "differ"),
        (1, "function"),
    ],
    "8.1": [
        (8_388_608, "bias"),
        (256 * 49 * 512, "112 pixels"),
        (10**9, "too large"),
        (1.5, "whole number"),
    ],
    "8.2": [
        (lambda i, o, k, s, g: 2 * o * s * s * k * k * i // g, "additions"),
        (lambda i, o, k, s, g: o * s * s * k * k * i, "own group"),
        (lambda i, o, k, s, g: 0, "10,838,016 MACs, not 0"),
        (7, "function"),
    ],
    "8.3": [
        (lambda layers: 1 + sum(k - 1 for k, _ in layers), "depends on 7 pixels"),
        ("x", "function"),
    ],
    "8.4": [
        ({"flatten": "depthwise"}, "billion MACs"),
        ({"downsample": "early"}, "parameters; which layer"),
        ({"width": 16}, "not width"),
        ("stem", "dictionary"),
        ({"flatten": "no"}, "ValueError"),
    ],
    "10.1": [
        (90.0, "their sum can be zero"),
        (99.59, "five others"),
        (1.7722, "radians"),
        (120.0, "too large"),
    ],
    "10.2": [
        (0.0442, "standard deviation of the cosine"),
        (0.1119, "is its square root"),
        (5.0, "too large"),
    ],
    "10.3": [
        (lambda w: np.zeros(7), "exclude the diagonal"),
        (lambda w: np.radians(nearest(w)), "radians"),
        (
            lambda w: np.degrees(np.arccos((w @ w.T - 1e9 * np.eye(7)).max(axis=1).clip(-1, 1))),
            "lengths",
        ),
        (lambda w: w, "shape"),
        (lambda w: nearest(w) + 1, "your function returns"),
        (3, "function"),
    ],
    "10.4": [
        (lambda x: effective_dim(np.linalg.svd(unit(x), compute_uv=False)), "mean direction"),
        (lambda x: effective_dim(spread(x)), "lengths"),
        (lambda x: spread(unit(x)).sum() ** 2 / (spread(unit(x)) ** 2).sum(), "square"),
        (lambda x: 64, "should be"),
        ("all", "function"),
    ],
    "14.1": [
        (19.07, "centres alone"),
        (38.15, "three tensors of the same size"),
        (61.44, "gigabytes"),
        (1.0, "too small"),
    ],
    "14.2": [
        (lambda highest, total: total.sum(0).log(), "correct for that before"),
        (lambda highest, total: (total * highest.exp()).sum(0).log(), "not finite"),
        (lambda highest, total: highest + total.log(), "shape"),
        (lambda highest, total: highest.amax(0), "first sample"),
        (1, "function"),
    ],
    "14.3": [(-2.3026, "*lower*"), (1.0, "base ten"), (9.0, "too large")],
    "14.4": [
        (
            lambda x, kind: prepared(x, {**kind, "channels": "RGB"}),
            "AdaFace's networks red and blue are swapped",
        ),
        (lambda x, kind: prepared(255 * x.float(), kind), "pixels in [0, 1]"),
        (
            lambda x, kind: prepared(x, {**kind, "mean": [0.5] * 3, "std": [0.5] * 3}),
            "MagFace's networks the",
        ),
        (lambda x, kind: x[0], "shape"),
        (1, "function"),
    ],
    "15.1": [(0.625, "radians"), (36.7, "begins to grow at length 10"), (45.8, "too large")],
    "15.2": [
        (1.0, "function of the cosine"),
        (lambda c, z, m: torch.cos(torch.acos(c) + m * z) - m * (1 + z), "sign of the angle"),
        (lambda c, z, m: torch.cos(torch.acos(c) - m * z) - m, "follows the length, too"),
        (lambda c, z, m: c - m, "At z = -1 the values differ"),
        (lambda c, z, m: c[:3], "shape is (3,)"),
    ],
    "15.3": [
        (3, "as a string"),
        ("nobody", "No loss is registered as 'nobody'"),
        ("arcface", "measured: nothing"),
        ("shortlate", "not alone; measured: norm, time"),
        ("magface", "larger for long embeddings"),
    ],
    "15.4": [(300.0, "between 10 and 110"), (40.0, "too small"), ("long", "give a number")],
    "16.1": [(0.1, "divide them by"), (0.2, "failures first"), (0.5, "too large")],
    "16.2": [
        (lambda q, rate: q > np.quantile(q, rate), "too many"),
        (lambda q, rate: np.argsort(np.argsort(q)) >= int(rate * len(q)), "together"),
        (lambda q, rate: q < 3.0, "not the pairs"),
        (lambda q, rate: q[q > 1.0], "mask"),
        (0.5, "function"),
    ],
    "17.1": [
        (lambda mean, spread, seeds, bound: "different", "'too small to matter'"),
        (lambda mean, spread, seeds, bound: "equivalent", "is 'different'"),
        (1, "function"),
    ],
    "17.2": [(4, "At scale 4 the loss"), (16, "too small")],
    "17.3": [(3, "the other way round"), (49, "too small")],
    "16.3": [(0.05, "before anything is discarded"), (0.2, "too large")],
}


@pytest.fixture(autouse=True)
def _losses_of_a_reader(monkeypatch):
    """Two losses with larger margins for short embeddings; one of them also for later steps."""
    monkeypatch.setattr(registry, "_LOSSES", dict(registry._LOSSES))

    @margins.register("shortface", year=2026)
    class ShortFace(margins.MarginPolicy):
        def target(self, target_cos, batch):
            return target_cos - 20.0 / batch.embedding_norm.clamp_min(20.0)

    @margins.register("shortlate", year=2026)
    class ShortLate(ShortFace):
        def target(self, target_cos, batch):
            return super().target(target_cos, batch) - 0.1 * batch.progress


def test_every_exercise_is_tested_both_ways():
    assert set(exercises.names()) == set(RIGHT) == set(WRONG)


@pytest.mark.parametrize(
    ("name", "answer"), [(n, a) for n, answers in RIGHT.items() for a in answers]
)
def test_right_answers_are_accepted(name, answer, capsys):
    exercises.check(name, answer)
    assert capsys.readouterr().out == f"Exercise {name}: correct, well done!\n"


@pytest.mark.parametrize(
    ("name", "answer", "hint"), [(n, a, s) for n, pairs in WRONG.items() for a, s in pairs]
)
def test_wrong_answers_are_explained(name, answer, hint):
    assert hint.replace("\\", "") in exercises.hint(name, answer)


def test_missing_answer_is_not_a_mistake(capsys):
    exercises.check("1.1", None)
    assert "waiting" in capsys.readouterr().out


def test_unknown_exercise_is_named():
    with pytest.raises(ValueError, match=r"no exercise '9\.9'"):
        exercises.check("9.9", 1)
