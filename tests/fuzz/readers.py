"""All readers of untrusted files, one line each; add a line for a new one."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz import data_seeds, seeds
from tests.fuzz.harness import Reader

from cdmllab import evaluate
from cdmllab._util import files, safe_yaml
from cdmllab.backbones import checkpoints, tfjs, weights
from cdmllab.data import align, archives, bins, ijb, inspection, lfw, opening, pair_lists, parquet
from cdmllab.data.decode import decode
from cdmllab.data.packs import Pack
from cdmllab.data.packwriter import PackWriter
from cdmllab.errors import DataError
from cdmllab.results import audit
from cdmllab.runs import Run
from cdmllab.sweeps import spec, sweep
from cdmllab.training import checkpoint, presets, shards


def fitting(folder: Path, rng: Random) -> None:
    """Checksums forged for a changed checkpoint; sometimes left unchanged."""
    if rng.random() < 0.2:
        return
    kept = folder / "kept"
    sums = {
        file.name: {"bytes": file.stat().st_size, "crc32": zlib.crc32(file.read_bytes())}
        for file in kept.iterdir()
        if shards.NAMES.fullmatch(file.name)
    }
    (kept / checkpoint.CHECKSUMS).write_text(
        json.dumps({"format": checkpoint.FORMAT, "files": sums})
    )


def rows(folder: Path) -> None:
    """A sweep's states, and the lines that print them."""
    work = sweep.Sweep(spec.load(SPEC), folder)
    for row in work.rows():
        sweep.line(row)


def ledgers(folder: Path) -> None:
    """The audit reports faults; it must not fail itself."""
    _, faults = audit.check(folder / "results", folder / "book")
    if any(len(fault) > 1000 for fault in faults):
        raise ValueError("a fault of more than 1,000 characters")


def in_file(name: str, read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Read the file of this name in the folder."""
    return lambda folder: read(folder / name)


def images(folder: Path) -> None:
    """An image as each reader of packs, bins and folders decodes it."""
    content = (folder / "x.jpg").read_bytes()
    try:
        decode(content, "x.jpg", strict=True)
    finally:
        decode(content, "x.jpg", colour="GRAY", upright=False)


def bin_file(folder: Path) -> None:
    (path,) = folder.iterdir()
    bins.read(path).decoded()


def pack(folder: Path) -> None:
    """A pack or a folder of people, as training and `cdmllab inspect` read it."""
    report = inspection.inspect(folder / "p")
    if any(len(problem) > 1000 for problem in report.problems):
        raise ValueError("a problem of more than 1,000 characters")
    if not report.problems and report.kind == "pack":
        packed = Pack(folder / "p")
        packed.read(range(len(packed)))
        packed.gaps()
    if report.problems:
        raise DataError(report.problems[0])


def archive(folder: Path) -> None:
    archives.extract(folder / "x.zip", folder / "out")
    list(archives.members(folder / "x.zip"))


def container(folder: Path) -> None:
    """A training set in another container than RecordIO, as training reads it."""
    stored = opening.open_set(folder / "set")
    stored.read(range(min(len(stored), 8)))


def metrics(folder: Path) -> None:
    """A run's metrics; a resumed run drops unreadable lines."""
    run = Run(folder)
    try:
        run.metrics()
    finally:
        run.drop_metrics_after(2)
        run.metrics()


def journal_of_packing(folder: Path) -> None:
    with PackWriter(folder) as writer:
        writer.add("c", "q", b"\xff\xd8\xff")


def parse(path: Path) -> object:
    return safe_yaml.parse(path.read_bytes(), str(path))


def load_release(path: Path) -> None:
    weights.release(path)
    weights.load_release(path)


SPEC = Path(__file__).parents[2] / "results/sweeps/lab_main.yaml"

READERS: dict[str, Reader] = {
    "YAML": Reader(seeds.hostile_yaml, in_file("x.yaml", parse), weight=3),
    "presets": Reader(
        seeds.presets, in_file("x.yaml", lambda path: presets.load(str(path))), weight=0.3
    ),
    "sweeps": Reader(seeds.sweeps, in_file("x.yaml", spec.load), weight=0.5),
    "states of sweeps": Reader(seeds.states, rows, weight=2),
    "checkpoints": Reader(
        seeds.checkpoints, lambda f: checkpoint.read(f / "kept", seeds.state()), fitting, weight=3
    ),
    "indices of checkpoints": Reader(
        seeds.index, in_file("state.json", lambda path: shards.parsed(path, shards.Index)), weight=3
    ),
    "releases": Reader(seeds.releases, in_file("net.safetensors", load_release), weight=2),
    "checkpoints of others": Reader(seeds.pths, in_file("net.pth", checkpoints.read), weight=2),
    "JSON": Reader(seeds.records, in_file("results/lab/some.json", files.read_record), weight=3),
    "journals": Reader(
        seeds.journals, in_file("x.jsonl", lambda path: list(files.read_journal(path))), weight=3
    ),
    "protocols in files": Reader(
        seeds.npz_protocols,
        in_file("x.npz", lambda path: evaluate.protocols.load(str(path))),
        weight=2,
    ),
    "evaluations": Reader(seeds.evaluations, in_file("x.json", evaluate.Evaluation.read), weight=3),
    "images": Reader(data_seeds.images, images, weight=4),
    "bins": Reader(data_seeds.bins, bin_file, weight=4),
    "packs": Reader(data_seeds.packs, pack, weight=4),
    "WebDataset shards": Reader(data_seeds.shards, container, weight=3),
    "LMDB": Reader(data_seeds.lmdbs, container, weight=1),
    "Parquet": Reader(data_seeds.parquet_sets, container, weight=2),
    "tables of pairs": Reader(
        data_seeds.parquet_pairs, in_file("x.parquet", parquet.pairs), weight=1
    ),
    "archives": Reader(data_seeds.archives, archive, weight=3),
    "LFW's pairs": Reader(data_seeds.pair_texts, in_file("x.txt", pair_lists.lfw), weight=3),
    "CALFW's pairs": Reader(data_seeds.calfw, in_file("x.txt", pair_lists.calfw), weight=3),
    "CFP's protocol": Reader(data_seeds.cfp, lambda folder: pair_lists.cfp(folder, "FP"), weight=2),
    "landmarks": Reader(data_seeds.landmarks, in_file("x.txt", align.read_landmarks), weight=3),
    "IJB's lists": Reader(data_seeds.ijb, lambda folder: ijb.load(folder, "ijbb"), weight=2),
    "AgeDB's protocol": Reader(data_seeds.matlab, in_file("x.mat", pair_lists.agedb), weight=0.1),
    "people of folds": Reader(
        data_seeds.folds, lambda folder: lfw.people_left_out(folder, 0), weight=2
    ),
    "metrics": Reader(data_seeds.metrics, metrics, weight=3),
    "journals of packing": Reader(data_seeds.journals_of_packing, journal_of_packing, weight=2),
    "weights of TensorFlow.js": Reader(data_seeds.tfjs, in_file("x.json", tfjs.read), weight=2),
    "records": Reader(seeds.records, ledgers, weight=0.3),
}
