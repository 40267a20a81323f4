"""Curves of error against discard on photographs: LFW-a and AT&T, with quality from two losses.

    cdmllab bench photo_quality

A small network learns LFW-a's people outside folds 0 to 4 with AdaFace, and another with MagFace.
Pairs of those folds, and of AT&T's people, are discarded by the length of the embedding and by
CR-FIQA's ratio, which a ridge regression predicts from the embedding. It writes
``results/lfw/quality.json``. About ten minutes of one core.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from cdmllab import evaluate, runs, training
from cdmllab._util.files import write_text
from cdmllab.analysis import quality
from cdmllab.evaluate import protocols
from cdmllab.metrics import discard, verification
from cdmllab.metrics.discard_areas import area, resampled_areas
from cdmllab.training import datasets, presets

LOSSES: dict[str, dict[str, Any]] = {
    "adaface": {"name": "adaface", "scale": 24.0, "margin": 0.2},
    "magface": {
        "name": "magface", "scale": 24.0, "low": 4.0, "high": 14.0,
        "low_margin_rad": 0.2, "high_margin_rad": 0.4,
    },
}  # fmt: skip
EPOCHS, FMR, RATES, SEED = 20, 0.01, tuple(k / 20 for k in range(17)), 0
PROTOCOLS = ("lfw/folds0-4", "att_faces")
Floats = NDArray[np.float64]


def curves(
    scores: Floats, protocol: evaluate.Protocol, image_quality: dict[str, Floats]
) -> dict[str, Any]:
    """Curves of both rules for each quality, with the area and its interval over people."""
    pairs, people = protocol.pairs, protocol.people()
    assert people is not None
    table: dict[str, Any] = {}
    for name, of_images in image_quality.items():
        of_pairs = discard.pair_quality(of_images[pairs.first], of_images[pairs.second])
        table[name] = {}
        for rule in ("fixed", "repicked"):
            options: dict[str, Any] = {"fmr": FMR, "threshold": rule, "rates": RATES}
            curve = discard.fnmr(scores, pairs.same, of_pairs, **options)
            drawn = resampled_areas(
                scores, pairs.same, of_pairs, people, relative=True, replicates=300, **options
            )
            low, high = np.nanpercentile(drawn, [2.5, 97.5])
            table[name][rule] = {
                "fnmr": curve.value.tolist(),
                "fmr": curve.fmr.tolist(),
                "area": area(curve, relative=True),
                "area_interval": [float(low), float(high)],
            }
    return table


def main() -> None:
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for loss, options in LOSSES.items():
        config = presets.load(
            "lfw/cpu/arcface", [{"loss": options, "backbone.width": 16, "epochs": EPOCHS}]
        )
        with tempfile.TemporaryDirectory() as folder:
            trained = training.train(config, within=Path(folder))
        prepare = training.prepare(trained.backbone)
        source = datasets.load(config.data.name, config.data.options)
        learnt = torch.from_numpy(source.read(np.arange(len(source)))).permute(0, 3, 1, 2)
        e = evaluate.embed(trained.backbone, learnt, prepare=prepare)
        cosines = quality.centre_cosines(
            e, trained.head.directions(), torch.from_numpy(source.labels)
        )
        ratio = Ridge(alpha=10.0).fit(e.numpy(), quality.certainty_ratio(cosines).numpy())
        results[loss] = {}
        for name in PROTOCOLS:
            protocol = protocols.load(name, config.backbone.options["size"])
            x = evaluate.embed(trained.backbone, protocol.images, prepare=prepare)
            scores = evaluate.scores(x, protocol.pairs)
            image_quality = {
                "norm": x.norm(dim=1).double().numpy(),
                "ratio": ratio.predict(x.numpy()),
                "random": np.random.default_rng(SEED).random(len(x)),
            }
            same = protocol.pairs.same
            results[loss][name] = {
                "pairs": len(same),
                "auc": verification.auc(scores, same),
                "accuracy": evaluate.verify(x, protocol.pairs).accuracy.mean,
                "curves": curves(scores, protocol, image_quality),
            }
            print(loss, name, json.dumps(results[loss][name])[:300], flush=True)
    record = {
        "command": "cdmllab bench photo_quality",
        "losses": LOSSES,
        "epochs": EPOCHS,
        "fmr": FMR,
        "rates": RATES,
        **runs.provenance(),
        "results": results,
    }
    write_text(ROOT / "results/lfw/quality.json", json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
