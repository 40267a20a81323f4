"""The lab's baseline: a small network with three seeds on the lab's protocols, and raw pixels.

    cdmllab bench lab [--seeds N]

It trains the preset lab/cpu/arcface for each seed (or reuses finished runs), evaluates the
networks, and writes ``results/lab/protocols.json``. From seed 0 it also writes the released network
``results/models/lab_small.safetensors`` and its responses to every nuisance, which the package
includes as ``src/cdmllab/faces/responses.json``.
"""

import argparse
import json
import sys
from typing import Any

import numpy as np
import torch
from common import ROOT
from numpy.typing import NDArray

from cdmllab import evaluate, runs, training
from cdmllab._util.files import write_text
from cdmllab.backbones import weights
from cdmllab.faces import difficulty
from cdmllab.metrics import templates, verification
from cdmllab.training import presets
from cdmllab.training.entry import BACKBONE, prepare

PRESET, SIZE = "lab/cpu/arcface", 32


def judge(embeddings: NDArray[np.float64], protocol: evaluate.Protocol) -> float:
    """The accuracy over folds, or for templates the TAR at a FAR of 1e-3."""
    if protocol.templates is None:
        return float(evaluate.verify(embeddings, protocol.pairs).accuracy.mean)
    pooled = templates.pool(embeddings, *protocol.templates)
    pairs = protocol.pairs._replace(
        first=pooled.rows(protocol.pairs.first), second=pooled.rows(protocol.pairs.second)
    )
    scores = evaluate.scores(pooled.embeddings, pairs)
    return float(verification.tar_at_far(scores, pairs.same, 1e-3))


def raw_pixels(protocol: evaluate.Protocol) -> NDArray[np.float64]:
    """Grey pixels minus the mean of each image: the baseline that every network has to beat."""
    images = protocol.images.read(np.arange(len(protocol.images)))  # type: ignore[union-attr]
    grey = images.astype(np.float64).mean(axis=3).reshape(len(images), -1)
    return grey - grey.mean(axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    trained = []
    for seed in range(chosen.seeds):
        trained.append(
            training.train(
                presets.load(PRESET, [f"seed={seed}"]),
                report=lambda line: print(line, file=sys.stderr),
            )
        )
    rows: list[dict[str, Any]] = []
    for name in [n for n in evaluate.protocols.names() if n.startswith("lab/")]:
        protocol = evaluate.protocols.load(name, SIZE)
        values = []
        for one in trained:
            e = (
                evaluate.embed(
                    one.backbone, protocol.images, flip=True, prepare=prepare(one.backbone)
                )
                .double()
                .numpy()
            )
            values.append(round(judge(e, protocol), 5))
        rows.append(
            {
                "protocol": name,
                "measure": "accuracy" if protocol.templates is None else "TAR at FAR 1e-3",
                "network": values,
                "raw_pixels": round(judge(raw_pixels(protocol), protocol), 5),
            }
        )
        print(rows[-1])
    source = {
        "command": "cdmllab bench lab",
        "preset": PRESET,
        "seeds": chosen.seeds,
        "size": SIZE,
        **runs.provenance(),
    }
    record = {
        **source,
        "runs": [one.run.folder.name for one in trained],
        "flip": True,
        "rows": rows,
    }
    write_text(ROOT / "results/lab/protocols.json", json.dumps(record, indent=1) + "\n")

    first = trained[0]
    model = ROOT / "results/models/lab_small.safetensors"
    metadata = weights.release(first.run.folder / BACKBONE)
    weights.save_release(first.backbone, model, **metadata._asdict(), half=True)
    feed = prepare(first.backbone)

    @torch.no_grad()
    def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        out: NDArray[np.float32] = first.backbone(
            feed(torch.from_numpy(images).permute(0, 3, 1, 2))
        ).numpy()
        return out

    responses = difficulty.measure(embed, size=SIZE, people=400)
    lost = {name: [round(v, 5) for v in values.tolist()] for name, values in responses.lost.items()}
    measured = {
        **source,
        "network": model.name,
        "people": 400,
        "strengths": difficulty.STRENGTHS,
        "lost": lost,
    }
    write_text(ROOT / "src/cdmllab/faces/responses.json", json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
