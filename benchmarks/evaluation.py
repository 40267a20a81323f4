"""Verification and IJB-C's 15.66 million pairs: speed against common code, with equal results.

    cdmllab bench evaluation [--rounds N] [--quick]

The peers are models of arcface_torch's evaluation. For 6,000 pairs it counts 400 thresholds in each
of ten folds for the accuracy, and 4,000 thresholds in each for a TAR that is never printed. For
IJB-C it gathers the embeddings of 100,000 pairs at a time in float64 and then calls scikit-learn's
ROC. All start from float32 embeddings of any length and run on one thread in one process; peak
memory above embeddings and pairs is measured in a fresh process for each.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from common import Peak, interleaved, peak_mib, write
from numpy.typing import NDArray
from sklearn.metrics import roc_curve
from sklearn.model_selection import KFold
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from cdmllab.evaluate import FARS
from cdmllab.metrics import fixed_grid, ranked, scoring, verification

Array = NDArray[Any]
DIM = 512
IMAGES, PAIRS, FOLDS = 12_000, 6_000, 10
GALLERY, PROBES, IJBC_PAIRS = 3_531, 19_593, 15_658_489  # templates of IJB-C's 1:1 protocol


class Data(NamedTuple):
    """Embeddings and pairs."""

    embeddings: Array  # [n, d], any length
    first: Array  # [p]
    second: Array
    same: Array


def lfw_like() -> Data:
    """6,000 pairs of 12,000 images as in a ``.bin``: half genuine, accuracy about 95 %."""
    rng = np.random.default_rng(0)
    same = np.arange(PAIRS) // (PAIRS // FOLDS // 2) % 2 == 0
    e = rng.standard_normal((IMAGES, DIM), dtype=np.float32)
    e[1::2] += np.where(same, np.float32(0.18), np.float32(0.0))[:, None] * e[0::2]
    return Data(e, np.arange(0, IMAGES, 2), np.arange(1, IMAGES, 2), same)


def ijbc_like(share: float) -> Data:
    """A share of IJB-C's pairs of gallery and probe templates, sorted by gallery template.

    All genuine pairs are included.
    """
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((GALLERY, DIM), dtype=np.float32)
    subject = np.concatenate([np.arange(GALLERY), np.arange(PROBES) % GALLERY])
    hard = rng.uniform(0.5, 6.0, (GALLERY + PROBES, 1)).astype(np.float32)
    e = centres[subject] + hard * rng.standard_normal((GALLERY + PROBES, DIM), dtype=np.float32)
    genuine = (subject[GALLERY:] * PROBES + np.arange(PROBES))[None]
    count = round(share * IJBC_PAIRS)
    drawn = rng.integers(0, GALLERY * PROBES, round(1.3 * count))
    others = np.setdiff1d(drawn, genuine)
    others = rng.permutation(others)[: count - PROBES]
    cells = np.sort(np.concatenate([genuine[0], others]))
    first, second = cells // PROBES, cells % PROBES + GALLERY
    return Data(e, first, second, subject[first] == subject[second])


def counts(accepted: Array, truth: Array) -> tuple[float, float, float]:
    """TAR, FAR and accuracy as arcface_torch counts them."""
    tp = np.sum(np.logical_and(accepted, truth))
    fp = np.sum(np.logical_and(accepted, np.logical_not(truth)))
    tn = np.sum(np.logical_and(np.logical_not(accepted), np.logical_not(truth)))
    fn = np.sum(np.logical_and(np.logical_not(accepted), truth))
    tar = 0.0 if tp + fn == 0 else float(tp) / float(tp + fn)
    far = 0.0 if fp + tn == 0 else float(fp) / float(fp + tn)
    return tar, far, float(tp + tn) / len(truth)


def accuracy_loop(data: Data) -> tuple[float, float]:
    """A model of arcface_torch's accuracy: 400 thresholds on nine folds, and on the tenth."""
    e = normalize(data.embeddings.astype(np.float64))
    distance = np.sum(np.square(np.subtract(e[0::2], e[1::2])), 1)
    grid, accuracy = np.arange(0, 4, 0.01), np.zeros(FOLDS)
    tar, far = np.zeros((FOLDS, len(grid))), np.zeros((FOLDS, len(grid)))
    for k, (train, test) in enumerate(KFold(FOLDS, shuffle=False).split(np.arange(PAIRS))):
        trained = [counts(np.less(distance[train], t), data.same[train])[2] for t in grid]
        for i, t in enumerate(grid):
            tar[k, i], far[k, i], _ = counts(np.less(distance[test], t), data.same[test])
        accuracy[k] = counts(np.less(distance[test], grid[np.argmax(trained)]), data.same[test])[2]
    return float(np.mean(accuracy)), float(np.std(accuracy))


def both_loops(data: Data) -> tuple[float, float]:
    """A model of its full evaluation: the accuracy, and an unprinted TAR at a FAR of 0.001."""
    result = accuracy_loop(data)
    e = normalize(data.embeddings.astype(np.float64))
    distance = np.sum(np.square(np.subtract(e[0::2], e[1::2])), 1)
    grid = np.arange(0, 4, 0.001)
    for train, test in KFold(FOLDS, shuffle=False).split(np.arange(PAIRS)):
        far = np.zeros(len(grid))
        for i, t in enumerate(grid):
            accepted, truth = np.less(distance[train], t), data.same[train]
            np.sum(np.logical_and(accepted, truth))
            impostors_in = np.sum(np.logical_and(accepted, np.logical_not(truth)))
            np.sum(truth)
            far[i] = float(impostors_in) / float(np.sum(np.logical_not(truth)))
        np.less(distance[test], np.interp(0.001, far, grid))
    return result


def ours_on_the_grid(data: Data) -> tuple[float, float]:
    scores = scoring.cosines(data.embeddings, data.first, data.second)
    distance = scoring.convert(scores, "cosine", "squared_l2")
    return fixed_grid.fold_accuracy(distance, data.same, np.arange(PAIRS) * FOLDS // PAIRS)[:2]


def ours_exact(data: Data) -> tuple[float, float]:
    scores = scoring.cosines(data.embeddings, data.first, data.second)
    return verification.fold_accuracy(scores, data.same, np.arange(PAIRS) * FOLDS // PAIRS)[:2]


def gathered(data: Data, batch: int = 100_000) -> Array:
    """A model of the public IJB scripts, which gather and multiply the embeddings of pairs."""
    e = normalize(data.embeddings.astype(np.float64))
    scores = np.zeros(len(data.first))
    for start in range(0, len(scores), batch):
        part = slice(start, start + batch)
        scores[part] = np.sum(e[data.first[part]] * e[data.second[part]], -1)
    return scores


def gathered_roc(data: Data) -> list[float]:
    far, tar, _ = roc_curve(data.same, gathered(data))
    return [float(tar[np.flatnonzero(far <= limit)[-1]]) for limit in FARS]


def ours_roc(data: Data) -> list[float]:
    scores = scoring.cosines(data.embeddings, data.first, data.second, noun="template")
    by_kind = ranked.rank(scores, data.same)
    return [ranked.tar_at_far(by_kind, far) for far in FARS]


def in_other_order(data: Data) -> Data:
    order = np.random.default_rng(1).permutation(len(data.first))
    return Data(data.embeddings, data.first[order], data.second[order], data.same[order])


CASES: dict[str, dict[str, Callable[[Data], Any]]] = {
    "verification": {
        "its loop for accuracy alone": accuracy_loop,
        "arcface_torch, both loops": both_loops,
        "ours": ours_on_the_grid,
    },
    "ijbc": {"gather, then scikit-learn": gathered_roc, "ours": ours_roc},
}


def data_of(name: str, share: float) -> Data:
    return lfw_like() if name == "verification" else ijbc_like(share)


def memory(name: str, case: str, share: float) -> float:
    data = data_of(name, share)
    with Peak() as peak:
        CASES[name][case](data)
    return peak.mib


def measured(name: str, rounds: int, share: float) -> dict[str, Any]:
    """Times, results and memory peaks of one table; exits if the results are not equal."""
    data = data_of(name, share)
    cases: dict[str, Callable[[], object]] = {
        case: partial(run, data) for case, run in CASES[name].items()
    }
    warm_up = None
    if name == "verification":
        cases["ours, exact rule"] = partial(ours_exact, data)
    else:
        cases["ours, pairs in no order"] = partial(ours_roc, in_other_order(data))
        few = ijbc_like(0.1)  # a warm-up with all pairs would take more than a minute
        warm_up = {case: partial(run, few) for case, run in CASES[name].items()}
    results: dict[str, Any] = {}

    def keep(case: str) -> None:
        results[case] = cases[case]()

    seconds = interleaved({case: partial(keep, case) for case in cases}, rounds, warm_up)
    for case in CASES[name]:
        if results[case] != results["ours"]:
            raise SystemExit(
                f"{name}: the results differ: {results[case]} ({case}), {results['ours']} (ours)"
            )
    rows = [
        {
            "case": case,
            "seconds": round(seconds[case], 4),
            "ours_is_faster": round(seconds[case] / seconds["ours"], 1),
            "peak_mib": round(peak_mib(__file__, "--memory", name, case, str(share)))
            if case in CASES[name]
            else None,
        }
        for case in cases
    ]
    print(f"\n{name}: {len(data.first):,} pairs, d = {DIM}")
    for row in rows:
        peak = f"{row['peak_mib']:8,} MiB" if row["peak_mib"] is not None else ""
        print(
            f"  {row['case']:27} {row['seconds']:9.4f} s {row['ours_is_faster']:8.1f} x ours "
            f"{peak}",
            flush=True,
        )
    return {
        "pairs": len(data.first),
        "dim": DIM,
        "input_mib": round(sum(array.nbytes for array in data) / 2**20),
        "result": results["ours"],
        "cases": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of the 6,000 pairs; IJB-C runs once"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of IJB-C's pairs")
    parser.add_argument(
        "--memory", nargs=3, metavar=("NAME", "CASE", "SHARE"), help=argparse.SUPPRESS
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        if chosen.memory:
            name, case, share = chosen.memory
            print(memory(name, case, float(share)))
            return
        share = 0.1 if chosen.quick else 1.0
        tables = {
            name: measured(name, chosen.rounds if name == "verification" else 1, share)
            for name in CASES
        }
    if not chosen.quick:
        print(f"\nwritten to {write('evaluation', {'tables': tables})}", file=sys.stderr)


if __name__ == "__main__":
    main()
