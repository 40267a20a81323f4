"""Estimate what a row costs on this machine before anything is downloaded or trained."""

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch

from cdmllab.data import fetching
from cdmllab.data.registry import DataSet, Registry, RemoteFile
from cdmllab.evaluate import evaluate, protocols
from cdmllab.reproduction.rows import ReproducibleRow, hours
from cdmllab.training import Config, datasets, presets
from cdmllab.training.probe import Probe, StandIn, probe

_RENDERED = 256  # faces of the lab rendered for a measurement
_STATES = 3  # copies of the parameters on disk, roughly: two checkpoints of weights and momenta


class Options(NamedTuple):
    """How to run a row on this machine.

    Attributes
    ----------
    seed : of the training
    processes : number of processes that train together, one per GPU if there are GPUs
    on_cpu : train on the CPU although the preset is for a GPU
    probe_s : seconds of training that the estimate is based on
    """

    seed: int = 0
    processes: int = 1
    on_cpu: bool = False
    probe_s: float = 30.0


class RequiredSet(NamedTuple):
    """A data set, and the files of it that a row needs."""

    name: str
    about: DataSet
    files: tuple[RemoteFile, ...]


class Timed(NamedTuple):
    """Measurements for a plan, stored so that they are not repeated."""

    key: str  # identifies the training and device
    render_s: float
    train_s: float
    evaluate_s: float
    probe: Probe


class RowPlan(NamedTuple):
    """The cost of a row on this machine."""

    config: Config
    deviations: tuple[str, ...]  # from the preset, required by this machine
    required: tuple[RequiredSet, ...]
    fetch_bytes: int
    disk_bytes: int
    free_bytes: int
    images: int
    timed: Timed
    recorded_h: float | None

    @property
    def seconds(self) -> float:
        """Estimated seconds without the download."""
        return self.timed.render_s + self.timed.train_s + self.timed.evaluate_s


def required_sets(row: ReproducibleRow, sets: Registry) -> tuple[RequiredSet, ...]:
    """The data sets of a row; only the verification bins of its own protocols."""
    needed = []
    for name in row.sets:
        about = sets.get(name)
        # Other bins of the set belong to protocols that this row does not compare.
        some = tuple(
            f
            for f in about.downloads
            if not f.path.endswith(".bin") or Path(f.path).stem in row.protocols
        )
        needed.append(RequiredSet(name, about, some))
    return tuple(needed)


def configure(row: ReproducibleRow, options: Options) -> tuple[Config, tuple[str, ...]]:
    """Adapt the preset's config to this machine, and list the deviations from the preset."""
    config = presets.load(row.preset, [f"seed={options.seed}"])
    # Each change is also put in words, for the model card and the comparison.
    changes: list[str] = []
    if config.device == "cuda" and not torch.cuda.is_available():
        speed = config.speed.model_copy(update={"precision": "auto", "compiled": False})
        config = config.changed(device="cpu", threads=os.cpu_count() or 1, speed=speed)
        changes.append("trained on the CPU, in its fastest precision, instead of float16 on a GPU")
    if options.processes > 1:
        if config.batch_size % options.processes:
            raise ValueError(
                f"batches of {config.batch_size} cannot be divided equally among "
                f"{options.processes} processes"
            )
        speed = config.speed.model_copy(
            update={"precision": "bfloat16" if config.device == "cuda" else "float32"}
        )
        size = config.batch_size // options.processes  # per process
        config = config.changed(
            batch_size=size,
            speed=speed,
            loss={**config.loss.model_dump(mode="json"), "backend": "sharded"},
        )
        changes.append(
            f"{options.processes} processes with {size} images each share a batch and the class "
            f"centres; batch normalisation is over the images of one process"
        )
    return config, tuple(changes)


def make(
    row: ReproducibleRow,
    sets: Registry,
    folder: Path,
    work: Path,
    options: Options,
    kept: Timed | None = None,
) -> RowPlan:
    """Estimate the cost of a row. Timing the training takes about `options.probe_s` seconds.

    Parameters
    ----------
    folder : of the data
    work : the folder of the training
    kept : measurements of an earlier call, which are reused if they are of the same training and
        device
    """
    config, changes = configure(row, options)
    needed = required_sets(row, sets)
    has_data = not datasets.missing(config.data.name, config.data.options)
    in_lab = config.data.name == "lab"
    # Images and identities: of the data, of a world of the lab, or as reported.
    source: Any
    if has_data and not in_lab:
        source = datasets.load(config.data.name, config.data.options)
        images, identities = len(source), source.num_identities
    elif in_lab:
        world = datasets.look(config.data.name, config.data.options)
        images, identities = len(world), world.num_identities
    else:
        images, identities = _reported(needed)
    net = config.backbone.build()
    # Without data, or before rendering, random images of the same size replace it.
    if not has_data or in_lab:
        source = StandIn(images, identities, net.size, net.channels, encoded=not in_lab)
    # The probe trains in this process alone, which a sharded loss cannot.
    alone = config.changed(loss=_unsharded(config)) if options.processes > 1 else config
    # What the timing depends on: with the same key it need not be repeated.
    key = f"{config.device} {config.threads} {options.processes} {images} {config.epochs}"
    timed = kept if kept is not None and kept.key == key else None
    if timed is None:
        speed = probe(alone, source, options.probe_s)
        threads = torch.get_num_threads()
        torch.set_num_threads(config.threads)  # the same as for training and evaluation
        # Assume that processes scale perfectly: an optimistic estimate.
        train_s = images * config.epochs / (speed.images_per_s * options.processes)
        drawn_per_s = (
            _rendering(net.size) if in_lab or any(map(protocols.in_lab, row.protocols)) else 1.0
        )
        renderers = 1 if torch.cuda.is_available() else (os.cpu_count() or 1)  # fill the cache
        render_s = images / (drawn_per_s * renderers) + _starting() if in_lab else 0.0
        timed = Timed(
            key, render_s, train_s, _evaluating(row, config, speed, net.size, drawn_per_s), speed
        )
        torch.set_num_threads(threads)
    # Bytes: still to download, archives still to unpack, rendered faces, checkpoints in float32.
    fetch = sum(fetching.missing_bytes(file, folder) for one in needed for file in one.files)
    unpack = sum(
        f.size for one in needed for f in one.files if f.unpack and not (folder / f.unpack).exists()
    )
    parameters = sum(p.numel() for p in net.parameters()) + identities * net.embedding_dim
    rendered = images * net.size * net.size * 3 if in_lab else 0
    disk = fetch + unpack + rendered + 4 * _STATES * parameters
    return RowPlan(
        config,
        changes,
        needed,
        fetch,
        disk,
        min(fetching.free_bytes(folder), fetching.free_bytes(work)),
        images,
        timed,
        hours(row, images, config.epochs),
    )


def lines(row: ReproducibleRow, plan: RowPlan) -> list[str]:
    """Format the plan as lines of text."""
    text = [
        f"{row.name}, {row.recipe}: {row.title} (preset {row.preset})",
        f"published by {row.source}: {_numbers(row)}",
    ]
    for one in plan.required:
        text += [
            f"data     {one.name}: {one.about.title}",
            f"         licence: {one.about.licence}",
            f"         history: {one.about.contents}; {one.about.history}",
            f"         homes: {one.about.reported}",
        ]
    text.append(
        f"fetch    {_size(plan.fetch_bytes)}; disk {_size(plan.disk_bytes)} needed, "
        f"{_size(plan.free_bytes)} free"
    )
    p, device = plan.timed.probe, plan.config.device
    waits = f"{p.steps} steps timed, {p.data_wait:.0%} of the time waiting for data"
    text.append(
        f"time     {_long(plan.timed.train_s)} of training here ({plan.config.epochs} epochs of "
        f"{plan.images:,} images "
        f"at {p.images_per_s:,.0f} per second on {device}, {waits})"
    )
    more = [f"{_long(plan.timed.render_s)} of rendering"] if plan.timed.render_s else []
    text.append(
        f"         {' and '.join([*more, f'{_long(plan.timed.evaluate_s)} of evaluation'])}; plus "
        f"the download"
    )
    total = (
        f" of {torch.cuda.get_device_properties(0).total_memory / 2**20:,.0f}"
        if device == "cuda"
        else ""
    )
    text.append(
        f"memory   {p.peak_mib:,.0f}{total} MiB of "
        f"{'the GPU' if device == 'cuda' else 'this process'}"
    )
    # The time of a recorded training, if there is one of the same network.
    if plan.recorded_h is not None and row.measured is not None:
        text.append(
            f"recorded about {plan.recorded_h:.1f} h at the speed of {row.measured.record}: "
            f"{row.measured.note}"
        )
    text += [f"note     {note}" for note in row.notes]
    text += [f"differs  {deviation}" for deviation in (*row.deviations, *plan.deviations)]
    return text


def _numbers(row: ReproducibleRow) -> str:
    return ", ".join(
        f"{name} {value:.2f}" + (f" ± {row.spread[name]:.2f}" if name in row.spread else "")
        for name, value in row.published.items()
    )


def _reported(needed: tuple[RequiredSet, ...]) -> tuple[int, int]:
    """Numbers of images and identities of a training set that is not downloaded yet."""
    for one in needed:
        images, identities = one.about.pack_count("images"), one.about.pack_count("identities")
        if images is not None and identities is not None:
            return sum(images) // 2, identities[0]  # the middle of the range
    raise AssertionError("a row whose data is missing fetches a set with images and identities")


def _unsharded(config: Config) -> dict[str, Any]:
    """The loss of a sharded training in the form for one process."""
    return {**config.loss.model_dump(mode="json"), "backend": "blocked"}


def _rendering(size: int) -> float:
    """Faces of the lab that one process renders per second."""
    from cdmllab.faces import FaceWorld, fastest

    world = FaceWorld(_RENDERED, 1, size=size, device=fastest())
    world.read(np.arange(8))  # warm up
    start = perf_counter()
    world.read(np.arange(_RENDERED))
    return _RENDERED / (perf_counter() - start)


def _starting() -> float:
    """Seconds a new process takes to import the renderer, as each that fills a cache must."""
    start = perf_counter()
    subprocess.run([sys.executable, "-c", "import cdmllab.faces"], check=True)
    return perf_counter() - start


def _evaluating(
    row: ReproducibleRow, config: Config, speed: Probe, size: int, drawn_per_s: float
) -> float:
    """Seconds for all protocols: render or read images, embed them twice, resample pairs."""
    total = 0.0
    # Every pair may have two images of its own, so this is an upper bound.
    for name in row.protocols:
        images = 2 * row.pairs[name]
        if protocols.in_lab(name):
            drawn = protocols.load(name, size)
            images = len(drawn.images)
            total += images / drawn_per_s
            # Random embeddings take as long to measure as real ones.
            start = perf_counter()
            rng = np.random.default_rng(0)
            evaluate(
                rng.normal(size=(images, config.backbone.embedding_dim)), drawn, replicates=200
            )
            total += 5.0 * (perf_counter() - start)  # the usual 1,000 replicates
        total += 2 * images / speed.judged_per_s  # with the mirrored images
    return total


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"


def _long(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"
