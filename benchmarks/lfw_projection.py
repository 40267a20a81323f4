"""Margins on strong features of real faces: linear maps of a public network's embeddings.

    cdmllab bench lfw_projection --stage screen
    cdmllab bench lfw_projection --stage compare --scale 16

It needs LFW-a and the network from `data_scripts/dlib_resnet.py`. For each half of View 2's folds
the map is trained on people who are in no pair of that half and have at least two images, and
tested on that half. ``screen`` searches for a scale at which the fixed margin itself improves the
results; ``compare`` runs all arms of ``results/plans/cdml_vs_arcface.md`` at that scale. An
interrupted run resumes at the same commit. The results are written to
``results/lfw/projection_<stage>.json``.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from common import ROOT
from numpy.typing import NDArray

from cdmllab import runs
from cdmllab._util.files import append_line, write_text
from cdmllab.backbones import weights
from cdmllab.data import lfw, paths
from cdmllab.errors import DataError
from cdmllab.evaluate import features
from cdmllab.metrics import ranked, scoring, verification
from cdmllab.training.projection import project

RELEASE, BATCH = "dlib_resnet/dlib_resnet.safetensors", 64
HALVES = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
FARS = (1e-3, 1e-4)
MARGIN = 0.49
SCREEN_SEEDS, COMPARE_SEEDS = range(1000, 1005), range(100)
SCALES = (8.0, 12.0, 16.0, 24.0, 32.0, 64.0)


def screening() -> dict[str, dict[str, Any]]:
    """No margin and the fixed margin at each scale, with both gradients."""
    arms: dict[str, dict[str, Any]] = {"softmax": {"name": "softmax"}}
    for s in SCALES:
        arcface = {"name": "arcface", "margin_rad": MARGIN, "scale": s}
        arms[f"normface_{s:g}"] = {"name": "normface", "scale": s}
        arms[f"arcface_{s:g}"] = arcface
        arms[f"arcface_{s:g}_through"] = {**arcface, "gradient": "straight_through"}
    return arms


def comparison(scale: float, gradient: str, dose: float) -> dict[str, dict[str, Any]]:
    """The arms of the plan without the oracles: the difficulty of photographs is unknown."""
    common = {"scale": scale, "gradient": gradient, "margin_rad": MARGIN}
    cdml = {"name": "cdml", **common}
    matched = {**cdml, "match_mean": True}
    hard = {**matched, "favour": "hard"}
    code = {
        **cdml,
        "shape": "linear",
        "favour": "hard",
        "beyond_pi": "none",
        "never_above": True,
        "detach_margin": False,
    }
    arms: dict[str, dict[str, Any]] = {
        "softmax": {"name": "softmax"},
        "normface": {"name": "normface", "scale": scale},
        "arcface": {"name": "arcface", **common},
        "cdml_document": cdml,
        "cdml_easy": matched,
        "cdml_hard": hard,
        "arcface_dose": {"name": "arcface", **common, "margin_rad": dose},
        "placebo": {"name": "elasticface", **common, "sigma": 0.2 * MARGIN},
        "code_gap": {**code, "easiness": "gap", "alpha": 0.408},
        "code_angle": {**code, "easiness": "angle_gap", "alpha": 0.1069},
    }
    for alpha in (0.4, 0.6):
        arms[f"easy_{100 * alpha:.0f}"] = {**matched, "alpha": alpha}
        arms[f"hard_{100 * alpha:.0f}"] = {**hard, "alpha": alpha}
    return arms


class Data:
    """Features, and the training and test sets of each half."""

    def __init__(self) -> None:
        path = paths.find(RELEASE)
        if path is None:
            raise DataError(
                f"{RELEASE} does not exist: create it with `python data_scripts/dlib_resnet.py`"
            )
        net, metadata = weights.load_release(path)
        self.features = features.of_lfw(net, metadata.preprocessing, batch_size=BATCH)
        self.pairs = lfw.pairs(self.features)
        self.tested = []
        for folds in HALVES:
            people = [lfw.people_in(self.features, self.pairs, fold) for fold in folds]
            self.tested.append(np.isin(self.features.labels, np.concatenate(people)))
        self.every = [self.all_pairs(half) for half in range(len(HALVES))]

    def training(self, half: int) -> tuple[tuple[NDArray[np.float32], ...], NDArray[np.int64]]:
        """Both views and the labels of the people who are not tested and have several images."""
        rows = ~self.tested[half] & (np.bincount(self.features.labels)[self.features.labels] > 1)
        labels = np.unique(self.features.labels[rows], return_inverse=True)[1].astype(np.int64)
        return (self.features.plain[rows], self.features.mirrored[rows]), labels

    def all_pairs(self, half: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The test images of a half, and which of their pairs (`triu_indices`) are genuine."""
        rows = np.flatnonzero(self.tested[half])
        who = self.features.labels[rows]
        return rows, (who[:, None] == who[None, :])[np.triu_indices(len(rows), 1)]


def tar_at(scores: NDArray[np.float32], same: NDArray[np.bool_]) -> dict[float, float]:
    """The exact TAR at each of `FARS`, without sorting millions of genuine scores."""
    impostor = scores[~same]
    accepted = {far: ranked.allowed(far, len(impostor)) for far in FARS}
    count = max(accepted.values()) + 1
    highest = np.sort(np.partition(impostor, -count)[-count:])[::-1]
    return {far: float((scores[same] > highest[k]).mean()) for far, k in accepted.items()}


def judged(data: Data, embeddings: list[NDArray[np.float32]]) -> dict[str, float]:
    """Accuracy and AUC on View 2's folds, and TAR over all pairs of test images.

    The values are means of both halves. Each half has its own map, so thresholds are chosen
    within a half.
    """
    measures: dict[str, list[float]] = {
        "accuracy": [],
        "auc": [],
        **{f"tar@{far:g}": [] for far in FARS},
    }
    for half, e in enumerate(embeddings):
        own = np.isin(data.pairs.fold, HALVES[half])
        same, fold = data.pairs.same[own], data.pairs.fold[own]
        scores = scoring.cosines(e, data.pairs.first[own], data.pairs.second[own])
        measures["accuracy"].append(verification.fold_accuracy(scores, same, fold).mean)
        measures["auc"].append(verification.auc(scores, same))
        rows, alike = data.every[half]
        x = e[rows] / np.linalg.norm(e[rows], axis=1, keepdims=True)
        for far, tar in tar_at((x @ x.T)[np.triu_indices(len(rows), 1)], alike).items():
            measures[f"tar@{far:g}"].append(tar)
    return {name: float(np.mean(values)) for name, values in measures.items()}


def one(data: Data, loss: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train and evaluate both halves."""
    start, embeddings, courses = perf_counter(), [], []
    both = data.features.flip_sum
    for half in range(len(HALVES)):
        views, labels = data.training(half)
        # The blocked backend computes the same loss as the dense one, but faster.
        done = project(views, labels, {**loss, "backend": "blocked"}, seed=seed)
        embeddings.append(done.transform(both))
        courses.append(np.array(done.epochs))
    keys = ("loss", "margin_rad", "margin_easy_rad", "margin_hard_rad", "easy_share")
    course = np.mean(courses, axis=0)
    margin = {
        key: [round(v, 5) if np.isfinite(v) else None for v in course[:, k]]
        for k, key in enumerate(keys)
    }
    measures = {key: round(value, 6) for key, value in judged(data, embeddings).items()}
    return {
        "seed": seed,
        "measures": measures,
        "course": margin,
        "seconds": round(perf_counter() - start, 2),
    }


def work(
    data: Data, arms: dict[str, dict[str, Any]], seeds: range, journal: Path
) -> dict[str, list[dict[str, Any]]]:
    """Run all arms, seed by seed, except the runs that are already in the journal."""
    finished: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for arm, loss, run in _kept(journal):
        if arms.get(arm) == loss:
            finished[arm].append(run)
    for seed in seeds:
        for arm, loss in arms.items():
            if any(run["seed"] == seed for run in finished[arm]):
                continue
            run = one(data, loss, seed)
            append_line(journal, json.dumps({"arm": arm, "loss": loss, "run": run}))
            finished[arm].append(run)
            m = run["measures"]
            print(
                f"seed {seed}  {arm:22} {100 * m['accuracy']:.2f} %  TAR {m['tar@0.001']:.4f}  "
                f"{run['seconds']:.1f} s",
                flush=True,
            )
    return {arm: sorted(rows, key=lambda run: run["seed"]) for arm, rows in finished.items()}


def _kept(journal: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for line in journal.read_text().splitlines() if journal.is_file() else ():
        entry = json.loads(line)
        yield entry["arm"], entry["loss"], entry["run"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", choices=["screen", "compare"], default="screen")
    parser.add_argument("--scale", type=float, default=16.0)
    parser.add_argument("--gradient", choices=["exact", "straight_through"], default="exact")
    parser.add_argument(
        "--dose",
        type=float,
        default=MARGIN,
        help="mean margin that cdml_document realised, radians",
    )
    parser.add_argument("--seeds", type=int, help="fewer seeds than in the plan, for a trial")
    given = parser.parse_args()
    torch.set_num_threads(1)
    provenance = runs.provenance()
    data = Data()
    arms = (
        screening()
        if given.stage == "screen"
        else comparison(given.scale, given.gradient, given.dose)
    )
    seeds = SCREEN_SEEDS if given.stage == "screen" else COMPARE_SEEDS
    if given.seeds:
        seeds = seeds[: given.seeds]
    journal = (
        runs.root() / "lfw_projection" / f"{given.stage}-{str(provenance['git_commit'])[:12]}.jsonl"
    )
    journal.parent.mkdir(parents=True, exist_ok=True)
    untrained = judged(data, [data.features.flip_sum] * len(HALVES))
    print("untrained", untrained, flush=True)
    runs_by_arm = work(data, arms, seeds, journal)
    record = {
        "command": f"cdmllab bench lfw_projection --stage {given.stage}",
        "network_sha256": data.features.network_sha256,
        "images_sha256": data.features.images_sha256,
        **provenance,
        "untrained": {key: round(value, 6) for key, value in untrained.items()},
        "arms": {arm: {"loss": arms[arm], "runs": runs_by_arm[arm]} for arm in arms},
    }
    write_text(ROOT / f"results/lfw/projection_{given.stage}.json", json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
