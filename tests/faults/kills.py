"""`kill -9` at random moments of training, packing and building the book.

    python -m tests.faults.kills [--kills 50] [--seed 0]

Each job is done once undisturbed. Then it is started in a forked process again and again, and each
process is killed at a random moment, until there were enough kills; a job that finishes in between
is checked and started afresh. In the end every result must equal the undisturbed one to the bit.
The report goes to ``results/faults/kills.json``.
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
from tests.book.build.tiny_book import Book, write_book

from cdmllab._util.files import write_text
from cdmllab.book.build.pipeline import build
from cdmllab.book.build.progress import Progress
from cdmllab.data import packing
from cdmllab.runs import Run, provenance
from cdmllab.training import Config, checkpoint, resume, train

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = {
    "name": "digits",
    "data": {"name": "digits", "augmentation": "small"},
    "backbone": {"name": "small", "embedding_dim": 8, "size": 8, "channels": 1, "width": 8},
    "loss": {
        "name": "cdml",
        "scale": 16.0,
        "shape": "linear",
        "class_weight": 0.5,
        "schedule": "linear",
    },
    "optimiser": {"lr": 0.05, "schedule": "cosine", "warmup_epochs": 1.0},
    "epochs": 12,
    "batch_size": 32,
    "watch": {"log_every": 1, "checkpoint_every": 5},
}
PICTURES = 600
TIMELESS = ("step", "loss", "lr", "accuracy", "margin_rad")


def digest(files: Iterable[Path]) -> str:
    """A digest of the bytes of files."""
    sha256 = hashlib.sha256()
    for file in sorted(files):
        sha256.update(file.name.encode() + b"\0" + file.read_bytes())
    return sha256.hexdigest()


class Training:
    """A network for digits, with a loss that keeps running statistics."""

    name = "training"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def work(self) -> None:
        """Continue the existing run, or start one."""
        runs = list(Run.list(self.folder))
        if runs:
            resume(runs[0].folder, report=lambda _: None)
        else:
            train(Config.parse(RECIPE), within=self.folder, report=lambda _: None)

    def inspect(self) -> None:
        """Check that every listed checkpoint is intact."""
        for run in Run.list(self.folder):
            for kept in checkpoint.steps(run.folder):
                problem = checkpoint.damage(kept)
                if problem:
                    raise AssertionError(f"{kept}: {problem}")

    def result(self) -> str:
        """Weights, and the metrics of every step."""
        (run,) = (r for r in Run.list(self.folder) if r.status == "finished")
        columns = run.metrics()
        numbers = np.stack([columns[key] for key in TIMELESS])
        return (
            digest(run.folder.glob("*.safetensors")) + hashlib.sha256(numbers.tobytes()).hexdigest()
        )


class Packing:
    """Six hundred images into RecordIO."""

    name = "packing"

    def __init__(self, folder: Path) -> None:
        self.source, self.target = folder / "people", folder / "pack"
        rng = np.random.default_rng(0)
        for k in range(PICTURES):
            file = self.source / f"p{k // 10:02}" / f"{k % 10}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (160, 160, 3), dtype=np.uint8)
            file.write_bytes(simplejpeg.encode_jpeg(pixels, quality=90))
            os.utime(file, (0, 0))

    def work(self) -> None:
        """Pack, or continue packing."""
        packing.pack(self.source, self.target, packing.Settings(size=112))

    def inspect(self) -> None:
        """Check that the pack is complete or absent."""
        if self.target.exists() and not (self.target / "train.idx").is_file():
            raise AssertionError(f"{self.target} is half a pack")

    def result(self) -> str:
        """All bytes of the pack."""
        return digest(file for file in self.target.iterdir() if file.name != packing.REPORT)


class Building:
    """A book of two chapters, run and rendered."""

    name = "building the book"

    def __init__(self, folder: Path) -> None:
        self.layout = Book(folder) if folder.exists() else write_book(folder)

    def work(self) -> None:
        """Build what is due."""
        os.chdir(self.layout.root)
        build(self.layout, progress=Progress(io.StringIO()))

    def inspect(self) -> None:
        """Check that the site is complete or absent, and that executed chapters are readable."""
        html = self.layout.html
        if html.exists() and not (html / "index.html").is_file():
            raise AssertionError(f"{html} has no first page")
        for path in self.layout.executed.glob("*.ipynb"):
            json.loads(path.read_text(encoding="utf-8"))

    def result(self) -> str:
        """The executed chapters and the pages created from them."""
        pages = [*self.layout.executed.glob("*.ipynb"), *self.layout.html.glob("**/*.html")]
        return digest(pages)


JOBS: tuple[Callable[[Path], Any], ...] = (Training, Packing, Building)


def survive(job: Callable[[Path], Any], folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill a job `kills` times in a child process and return the counts.

    Raises
    ------
    AssertionError : something half-written was found after a kill, or the job could not continue
    """
    rng = random.Random(seed)
    undisturbed = job(folder / "undisturbed")
    start = time.monotonic()
    _process(undisturbed).join()
    straight_s = time.monotonic() - start
    expected = undisturbed.result()
    done, ends, equal = 0, 0, 0
    at_work = job(folder / "0")
    while done < kills or not ends:
        process = _process(at_work)
        process.join(rng.uniform(0.0, 0.7 * straight_s) if done < kills else None)
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            done += 1
            at_work.inspect()
            continue
        if process.exitcode != 0:
            raise AssertionError(
                f"{at_work.name} did not go on after {done} kills: it ended with {process.exitcode}"
            )
        equal += at_work.result() == expected
        if done < kills:
            shutil.rmtree(folder / str(ends))
            at_work = job(folder / str(ends + 1))
        ends += 1
    return {"kills": done, "ends": ends, "equal ends": equal, "undisturbed_s": round(straight_s, 2)}


def _process(job: Any) -> Any:
    """The job in a fork of this process, which has already imported everything."""
    process = multiprocessing.get_context("fork").Process(target=job.work)
    process.start()
    return process


def main() -> None:
    """Kill every job, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of each job")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    torch.set_num_threads(1)  # a fork must not inherit half a thread pool
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        for job in JOBS:
            place = Path(folder) / job.__name__
            place.mkdir()
            outcomes[job.name] = survive(job, place, given.kills, given.seed)
            print(f"{job.name}: {outcomes[job.name]}", flush=True)
    record = {
        "command": f"python -m tests.faults.kills --kills {given.kills} --seed {given.seed}",
        **provenance(),
    }
    write_text(
        REPOSITORY / "results/faults/kills.json",
        json.dumps({**record, "jobs": outcomes}, indent=1) + "\n",
    )
    if any(job["ends"] != job["equal ends"] for job in outcomes.values()):
        raise SystemExit("an end differs from the undisturbed one")


if __name__ == "__main__":
    main()
