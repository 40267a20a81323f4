"""A public pretrained network on LFW-a: the positive control of our evaluation.

    cdmllab bench lfw_public

It needs LFW-a and the network from `data_scripts/dlib_resnet.py`, and writes
``results/lfw/public_resnet.json``: the evaluation on View 2, the cosine of every pair, the worst
pairs, and the results for other crops of the same images. The embeddings of all images are stored
in the data folder's ``features``.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from common import ROOT
from numpy.typing import NDArray

from cdmllab import preprocessing, runs
from cdmllab._util.files import write_text
from cdmllab.backbones import Backbone, weights
from cdmllab.data import lfw, paths
from cdmllab.errors import DataError
from cdmllab.evaluate import Evaluation, embed, evaluate, features, protocols, scores
from cdmllab.metrics import calibration, error_rates

RELEASE, SIZE, BATCH, WORST = "dlib_resnet/dlib_resnet.safetensors", 150, 64, 12
PROTOCOL = "lfw/view2"
CROPS = {
    "the network's own": None,
    "by the eyes of dlib's template": (6.2864, 19.9941, 106.8714, 120.5791),
    "ArcFace's, as our networks see": preprocessing.WHOLE,
}
PUBLISHED = {
    "accuracy": 0.993833,
    "std_over_folds": 0.00272732,
    "note": "dlib's own detector and alignment, colour, the mean over 100 jittered copies of each "
    "image; 0.9913 "
    "without copies",
    "sources": [
        "https://github.com/davisking/dlib-models",
        "https://github.com/davisking/dlib/blob/master/examples/dnn_face_recognition_ex.cpp",
    ],
    "threshold_distance": 0.6,  # between embeddings that are not normalised, of unmirrored images
}


def at_published_threshold(extracted: features.Features) -> dict[str, Any]:
    """FAR and TAR if pairs are accepted below the distance in dlib's example."""
    listed = lfw.pairs(extracted)
    distance = np.linalg.norm(
        extracted.plain[listed.first] - extracted.plain[listed.second], axis=1
    )
    decision = calibration.decide(-distance.astype(np.float64), listed.same, -0.6)
    return {
        "far": decision.far.value,
        "tar": decision.tar.value,
        "accuracy": float(((distance < 0.6) == listed.same).mean()),
    }


def worst(
    done: Evaluation, files: Sequence[str], pairs: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> dict[str, Any]:
    """The worst errors, by their position in View 2's list and with their files."""
    errors = error_rates.worst(done.scores, done.same, WORST)
    return {
        kind: [
            {
                "pair": k,
                "first": files[pairs[0][k]],
                "second": files[pairs[1][k]],
                "cosine": float(done.scores[k]),
            }
            for k in rows.tolist()
        ]
        for kind, rows in errors._asdict().items()
    }


def other_crops(net: Backbone, given: dict[str, Any], own: Evaluation) -> Iterator[dict[str, Any]]:
    """Accuracy and AUC of the same network on other crops of the same images."""
    for name, crop in CROPS.items():
        used = preprocessing.check(given if crop is None else given | {"crop": crop})
        square = preprocessing.crop_of(used)
        done = own
        if crop is not None:
            cropped = protocols.load(PROTOCOL, SIZE, square=square)
            e = embed(
                net,
                cropped.images,
                BATCH,
                flip=True,
                prepare=lambda x, used=used: preprocessing.apply(x, used),
            )
            done = evaluate(e.numpy(), cropped, flip=True, replicates=0)
        m = done.measures
        assert m.accuracy is not None  # View 2 has ten folds
        tar = next(at.value for at in m.tar_at_far if at.far == 1e-3)
        row = {
            "crop": name,
            "square_112": list(square),
            "lfwa_pixels": list(lfw.box(square)),
            "accuracy": m.accuracy.value,
            "std_over_folds": m.accuracy.std_over_folds,
            "auc": m.auc.value,
            "tar_at_far_1e-3": tar,
        }
        print(f"{name:34} {100 * row['accuracy']:.2f} %, AUC {row['auc']:.4f}", flush=True)
        yield row


def main() -> None:
    torch.set_num_threads(1)
    path = paths.find(RELEASE)
    if path is None:
        raise DataError(
            f"{RELEASE} does not exist: create it with `python data_scripts/dlib_resnet.py`"
        )
    net, metadata = weights.load_release(path)
    used = metadata.preprocessing

    extracted = features.of_lfw(net, used, batch_size=BATCH)
    listed = lfw.pairs(extracted)
    rows = np.unique(np.concatenate([listed.first, listed.second]))
    protocol = protocols.load(PROTOCOL, SIZE, square=preprocessing.crop_of(used))
    done = evaluate(extracted.flip_sum[rows], protocol, flip=True)
    assert np.allclose(done.scores, scores(extracted.flip_sum, listed), atol=1e-6)

    recorded = done.measures.to_json().items()
    own = {key: value for key, value in recorded if key not in runs.provenance()}
    cosines = {
        kind: [round(s, 6) for s in done.scores[rows].tolist()]
        for kind, rows in (("genuine", done.same), ("impostor", ~done.same))
    }
    record = {
        "command": "cdmllab bench lfw_public",
        "network": {
            "backbone": metadata.name,
            "release": path.name,
            "weights_sha256": extracted.network_sha256,
        },
        "images_sha256": extracted.images_sha256,
        "preprocessing": used,
        **runs.provenance(),
        "published": PUBLISHED,
        "evaluation": own,
        "wrong_pairs": int(done.wrong.sum()),
        "at_published_threshold": at_published_threshold(extracted),
        "crops": list(other_crops(net, used, done)),
        "worst": worst(done, extracted.files, listed[:2]),
        "cosines": cosines,
    }
    text = json.dumps({**record, "cosines": dict.fromkeys(cosines, None)}, indent=1)
    for kind, values in cosines.items():  # on one line each instead of 3,000
        text = text.replace(f'"{kind}": null', f'"{kind}": {json.dumps(values)}')
    write_text(ROOT / "results/lfw/public_resnet.json", text + "\n")


if __name__ == "__main__":
    main()
