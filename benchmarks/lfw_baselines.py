"""Baselines on LFW-a: raw pixels, whitened principal components and an untrained network.

    cdmllab bench lfw_baselines

They use all ten folds of View 2, in the two halves of the sweep results/sweeps/lfw.yaml: whatever
is fitted is fitted on people who are in no pair of the half that is evaluated. It writes
``results/lfw/baselines.json``.
"""

import json
from typing import Any

import numpy as np
import torch
from common import ROOT
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from cdmllab import backbones, evaluate, runs
from cdmllab._util.files import write_text
from cdmllab.data import lfw
from cdmllab.evaluate import protocols
from cdmllab.training import prepare

SIZE, COMPONENTS, SEED = 48, 100, 0
HALVES = {"lfw/folds0-4": (0, 1, 2, 3, 4), "lfw/folds5-9": (5, 6, 7, 8, 9)}
Floats = NDArray[np.float64]


def rows(images: NDArray[np.uint8]) -> Floats:
    """Images [n, h, w, 1] as rows of length h w, standardised to remove lighting."""
    x = images.reshape(len(images), -1).astype(np.float64)
    x -= x.mean(axis=1, keepdims=True)
    standard: Floats = x / x.std(axis=1, keepdims=True).clip(1e-6)
    return standard


def embeddings(protocol: protocols.Protocol, folds: tuple[int, ...]) -> dict[str, Any]:
    """Each baseline's embeddings of the images of a half with the given folds."""
    pixels = protocol.images.read(np.arange(len(protocol.images)))  # type: ignore[union-attr]
    faces = lfw.images(size=(SIZE, SIZE))
    others = lfw.training_part(faces, lfw.pairs(faces), *folds)
    fitted = PCA(COMPONENTS, whiten=True, random_state=SEED).fit(
        rows(others.read(np.arange(len(others))))
    )
    torch.manual_seed(SEED)
    untrained = backbones.create("small", embedding_dim=128, size=SIZE, channels=1)
    return {
        "raw pixels": rows(pixels),
        f"principal components, {COMPONENTS}, whitened": fitted.transform(rows(pixels)),
        "untrained network": evaluate.embed(untrained, protocol.images, prepare=prepare(untrained))
        .double()
        .numpy(),
    }


def main() -> None:
    torch.set_num_threads(1)
    accuracies: dict[str, list[float]] = {}
    aucs: dict[str, list[float]] = {}
    for name, folds in HALVES.items():
        protocol = protocols.load(name, SIZE)
        for baseline, e in embeddings(protocol, folds).items():
            judged = evaluate.verify(e, protocol.pairs)
            accuracies.setdefault(baseline, []).extend(float(a) for a in judged.accuracy.per_fold)
            aucs.setdefault(baseline, []).append(judged.auc)
    table = [
        {
            "baseline": name,
            "accuracy": float(np.mean(per_fold)),
            "per_fold": per_fold,
            "auc_of_halves": aucs[name],
        }
        for name, per_fold in accuracies.items()
    ]
    for row in table:
        print(f"{row['baseline']:40} {100 * row['accuracy']:.2f} %")  # type: ignore[operator]
    record = {
        "command": "cdmllab bench lfw_baselines",
        "size": SIZE,
        "seed": SEED,
        **runs.provenance(),
        "rows": table,
    }
    write_text(ROOT / "results/lfw/baselines.json", json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
