"""The face lab's speed in images per second, on one core and on all cores, or on the GPU.

    cdmllab bench faces [--rounds N] [--casia]

Each size is rendered at the strength of the training mix, including its props and blurs. Processes
render in parallel, one thread each, as in `FaceWorld.cached`. ``--casia`` renders the world of the
presets ``lab/gpu/*``, which has the size of CASIA-WebFace, in the folder where they expect it.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from time import perf_counter, time

import numpy as np
import torch
from common import write

from cdmllab.faces import FaceWorld
from cdmllab.faces.cache import PARAMETERS, CachedWorld
from cdmllab.training import datasets, presets

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZES = {32: 1024, 64: 512, 112: 192, 224: 48}  # images per portion of one process


def portion(size: int, first: int, images: int) -> float:
    """Seconds for rendering some images in a process with one thread."""
    torch.set_num_threads(1)
    world = FaceWorld(100_000, 4, size=size, device=DEVICE)
    world.read(np.arange(8))  # the first call builds tables
    start = perf_counter()
    world.read(np.arange(first, first + images))
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - start


def measure(pool: ProcessPoolExecutor, workers: int, size: int, rounds: int) -> float:
    """Median images per second of `workers` processes together, by the slowest process."""
    images = SIZES[size] * (16 if DEVICE == "cuda" else 1)
    rates = []
    for round_ in range(rounds + 1):
        jobs = [
            pool.submit(portion, size, (round_ * workers + w) * images, images)
            for w in range(workers)
        ]
        seconds = max(job.result() for job in jobs)
        if round_:
            rates.append(workers * images / seconds)
    return statistics.median(rates)


def casia() -> dict[str, float]:
    data = presets.load("lab/gpu/r18_lite_arcface").data
    began, start = time(), perf_counter()
    world = datasets.load(data.name, data.options)
    seconds = perf_counter() - start
    assert isinstance(world, CachedWorld)
    if (world.folder / PARAMETERS).stat().st_mtime < began - 1.0:
        sys.exit(
            f"{world.folder} already contains this world or a part of it: remove it to measure the "
            f"time"
        )
    return {"images": len(world), "seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--casia", action="store_true", help="also render a world of CASIA-WebFace's size, 18.7 GB"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cores = 1 if DEVICE == "cuda" else (os.cpu_count() or 1)
    rows = []
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        for size in SIZES:
            alone = measure(pool, 1, size, chosen.rounds)
            together = measure(pool, cores, size, chosen.rounds) if cores > 1 else alone
            rows.append(
                {"size": size, "one_process": round(alone, 1), "all_cores": round(together, 1)}
            )
            print(f"{size:4} px  {alone:8.0f} images/s in one process, {together:8.0f} in {cores}")
    values = {"processes": cores, "strength": 0.65, "images_per_s": rows}
    if chosen.casia:
        values["casia_shaped_world"] = casia()
        print(values["casia_shaped_world"])
    print(f"\nwritten to {write('faces', values)}", file=sys.stderr)


if __name__ == "__main__":
    main()
