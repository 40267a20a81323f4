"""A published row in miniature: a lab world as a zipped pack, a bin of other people, and a recipe
of seconds.
"""

import hashlib
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from tests.data.fetching.mirror_server import Mirror
from tests.data.making import write_pack

from cdmllab.data import bins, fetching
from cdmllab.data.decode import encode_jpeg
from cdmllab.data.pairs import sample
from cdmllab.data.registry import DataSet, Registry
from cdmllab.faces import FaceWorld
from cdmllab.reproduction import ReproducibleRow

PEOPLE, EACH, SIZE = 16, 8, 32
RECIPE = {
    "data": {"name": "pack", "folder": "mini_pack", "augmentation": "flip"},
    "backbone": {"name": "small", "embedding_dim": 16, "size": SIZE, "width": 8},
    "loss": {"name": "arcface", "scale": 16.0, "margin_rad": 0.2},
    "optimiser": {"lr": 0.05, "schedule": "cosine"},
    "epochs": 3,
    "batch_size": 16,
    "watch": {"log_every": 1, "checkpoint_every": 3, "validate_every": 24, "protocols": ["lfw"]},
}


class Made(NamedTuple):
    """A row, and the registry that has its data sets."""

    row: ReproducibleRow
    sets: Registry


def make(folder: Path, mirror: Mirror) -> Made:
    """The row, with its files on a mirror; `folder` receives the preset and the zipped files."""
    world = FaceWorld(PEOPLE, EACH, size=SIZE)
    jpegs = [encode_jpeg(face) for face in world.read(np.arange(len(world)))]
    pack = write_pack(folder / "inner", world.labels.tolist(), size=SIZE, images=jpegs)
    with zipfile.ZipFile(folder / "pack.zip", "w") as archive:
        for file in sorted(pack.iterdir()):
            archive.write(file, f"mini/{file.name}")
    others = FaceWorld(10, 6, size=SIZE, first=1000)
    faces = [encode_jpeg(face) for face in others.read(np.arange(len(others)))]
    pairs = sample(others.labels, per_fold=4, folds=10)
    rows = np.stack([pairs.first, pairs.second], axis=1).reshape(-1)
    bins.write(folder / "lfw.bin", [faces[row] for row in rows.tolist()], pairs.same)
    (folder / "mini.yaml").write_text(yaml.safe_dump(RECIPE))
    files = []
    for name, path, more in (
        ("pack.zip", "mini_pack.zip", {"unpack": "mini_pack", "holds": "train.rec"}),
        ("lfw.bin", "verification/lfw.bin", {}),
    ):
        content = (folder / name).read_bytes()
        mirror.files[f"/{name}"] = content
        homes = (
            fetching.Mirror(url=f"{mirror.url}/gone/{name}"),
            fetching.Mirror(url=f"{mirror.url}/{name}"),
        )
        sha = hashlib.sha256(content).hexdigest()
        files.append(
            fetching.RemoteFile(path=path, bytes=len(content), sha256=sha, mirrors=homes, **more)
        )
    terms = {
        "licence": "to be tried",
        "history": "rendered",
        "contents": "some faces",
        "source": "[a page](https://example.org)",
        "reported": "here",
    }
    count = PEOPLE * EACH
    sets = {
        "mini": DataSet(
            name="mini",
            title="a world",
            label="world",
            files=tuple(files[:1]),
            pack="mini_pack",
            makes={"mini_112": {"identities": PEOPLE, "images": count}},
            **terms,
        ),
        "mini_bins": DataSet(
            name="mini_bins", title="bins", label="bins", files=tuple(files[1:]), **terms
        ),
    }
    row = ReproducibleRow(
        name="mini",
        recipe="test",
        preset=str(folder / "mini.yaml"),
        title="a miniature",
        source="a test",
        published={"lfw": 65.0},
        pairs={"lfw": 80},
        sets=("mini", "mini_bins"),
        deviations=("it is small",),
    )
    return Made(row, Registry(sets=sets))
