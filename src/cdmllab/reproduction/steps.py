"""The steps of a reproduction. Finished steps are skipped and interrupted ones continue.

Each step checks what an earlier call left: a fetched file by its receipt, a pack by its number of
images, a training by its run's folder, an evaluation by its digests. ``state.json`` stores what the
user has consented to, the estimate, and the time of each step.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
import yaml

from cdmllab import runs
from cdmllab._util.files import read_record, write_text
from cdmllab.backbones import weights
from cdmllab.data import fetching
from cdmllab.data.fetching import PATIENT, Patience, Progress
from cdmllab.data.fetching.unpack import count, unpack
from cdmllab.data.packs import Pack
from cdmllab.data.registry import Registry
from cdmllab.errors import CdmlLabError, DataError
from cdmllab.evaluate import Measures, cached, protocols
from cdmllab.evaluate.measures import Accuracy
from cdmllab.export import card
from cdmllab.reproduction import compare, plan
from cdmllab.reproduction.compare import Compared
from cdmllab.reproduction.plan import Options, RowPlan
from cdmllab.reproduction.rows import ReproducibleRow
from cdmllab.runs import Run
from cdmllab.sweeps import task
from cdmllab.training import released
from cdmllab.training.probe import Probe

STATE, COMPARISON, RELEASE, RUNS = "state.json", "comparison.json", "release", "runs"
Report = Callable[[str], None]


class Reproduced(NamedTuple):
    """A reproduced row."""

    row: ReproducibleRow
    run: Run
    compared: tuple[Compared, ...]
    verdict: str
    folder: Path
    seconds: Mapping[str, float]  # by step, of this and earlier calls
    estimate: Mapping[str, float]  # by step, of the first call


class RowWork:
    """The folder of one row, recipe and seed, in the folder of runs."""

    def __init__(self, row: ReproducibleRow, seed: int, within: Path | None = None) -> None:
        preset = Path(row.preset)
        # A preset may be a file.
        name = preset.stem if preset.suffix else row.preset.replace("/", "-")
        self.row, self.seed = row, seed
        self.folder = (within or runs.root()) / "reproduce" / f"{name}__s{seed}"
        self.state: dict[str, Any] = {"accepted": [], "seconds": {}, "estimate": {}, "timed": []}
        # Missing or damaged by a kill: only times are lost, and consent is asked for again.
        with suppress(DataError):
            kept = read_record(self.folder / STATE)
            # Only keys of the expected type, so that a damaged value is replaced by the default.
            self.state |= {
                key: kept[key]
                for key in self.state
                if isinstance(kept.get(key), type(self.state[key]))
            }

    def keep(self) -> None:
        """Write ``state.json``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / STATE, json.dumps(self.state, indent=1) + "\n")

    @property
    def measured(self) -> plan.Timed | None:
        """The measurements of an earlier call, or None."""
        with suppress(TypeError, ValueError):  # of an earlier version, or empty: measure again
            key, render_s, train_s, evaluate_s, speed = self.state["timed"]
            return plan.Timed(key, render_s, train_s, evaluate_s, Probe(*speed))
        return None

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of a block to that of a step."""
        start = perf_counter()
        try:
            yield
        # Also after a failure: the time was spent.
        finally:
            seconds = self.state["seconds"]
            seconds[step] = round(seconds.get(step, 0.0) + perf_counter() - start, 2)
            self.keep()


def missing_consent(
    row: ReproducibleRow, work: RowWork, sets: Registry, folder: Path
) -> list[plan.RequiredSet]:
    """The data sets that would be fetched and whose terms were not accepted yet."""
    return [
        one
        for one in plan.required_sets(row, sets)
        if one.name not in work.state["accepted"]
        and any(
            fetching.missing_bytes(file, folder) or not (folder / file.path).exists()
            for file in one.files
        )
        and not _unpacked(one, folder)
    ]


def accept(work: RowWork, names: list[str]) -> None:
    """Store that the user accepts the terms of some data sets."""
    work.state["accepted"] = sorted({*work.state["accepted"], *names})
    work.keep()


def carry_out(
    work: RowWork,
    row_plan: RowPlan,
    data: Path,
    report: Report,
    *,
    options: Options,
    progress: Progress | None = None,
    patience: Patience = PATIENT,
) -> Reproduced:
    """Fetch, prepare, train, evaluate, compare.

    Parameters
    ----------
    row_plan : the plan that the user agreed to
    data : the data folder

    Raises
    ------
    CdmlLabError : the disk is too small; or as a step raises
    """
    row = work.row
    # The first estimate is kept, to be compared with the times in the end.
    if not work.state["estimate"]:
        timed = row_plan.timed
        work.state["estimate"] = {
            "train": round(timed.render_s + timed.train_s, 1),
            "evaluate": round(timed.evaluate_s, 1),
        }
    work.state["timed"] = list(row_plan.timed)
    work.keep()
    _room(row_plan, data)
    # Fetch, prepare, train, evaluate: each step skips what an earlier call has finished.
    for one in row_plan.required:
        if _unpacked(one, data):
            report(f"fetch: {one.name} is complete")
            continue
        with work.timed("fetch"):
            for file in one.files:
                got = fetching.fetch(
                    file,
                    data,
                    page=one.about.page,
                    patience=patience,
                    report=_indented(report),
                    progress=progress,
                )
                report(
                    f"fetch: {file.path} "
                    f"{'exists already' if got.was_there else f'from {got.mirror}'}"
                )
    if not row_plan.required:
        report("fetch: nothing to download")
    with work.timed("prepare"):
        _prepare(row_plan, data, report)
    with work.timed("train"):
        run = _train(work, row_plan, options, report)
    report(f"train: finished in {run.folder}")
    # The threads of the training, so that evaluation times match the estimate.
    threads = torch.get_num_threads()
    torch.set_num_threads(row_plan.config.threads)
    with work.timed("evaluate"):
        measures = _evaluate(work, row_plan, run, report)
    torch.set_num_threads(threads)
    # Compare, and write comparison and model card.
    accuracies = {name: _accuracy(one) for name, one in measures.items()}
    compared = compare.compare(row, accuracies)
    verdict = compare.verdict(compared)
    _card(work, row_plan, run, compared)
    write_text(
        work.folder / COMPARISON,
        json.dumps(comparison(row, row_plan, compared, verdict, measures), indent=1) + "\n",
    )
    report(
        f"compare: written to {work.folder / COMPARISON}, model card and weights to "
        f"{work.folder / RELEASE}"
    )
    seconds, estimate = work.state["seconds"], work.state["estimate"]
    return Reproduced(row, run, compared, verdict, work.folder, seconds, estimate)


def comparison(
    row: ReproducibleRow,
    row_plan: RowPlan,
    compared: tuple[Compared, ...],
    verdict: str,
    measures: Mapping[str, Measures],
) -> dict[str, Any]:
    """The comparison as plain values; the same training gives the same values."""
    return {
        "row": row.name,
        "recipe": row.recipe,
        "preset": row.preset,
        "source": row.source,
        "verdict": verdict,
        "deviations": [*row.deviations, *row_plan.deviations],
        "protocols": [
            {
                **{
                    key: round(value, 6) if isinstance(value, float) else value
                    for key, value in c._asdict().items()
                },
                "difference": round(c.difference, 6),
                "standard_errors": round(c.errors, 6),
                "per_fold": [round(value, 6) for value in _accuracy(measures[c.protocol]).per_fold],
                "copy": measures[c.protocol].source,
            }
            for c in compared
        ],
    }


def _unpacked(one: plan.RequiredSet, data: Path) -> bool:
    """Whether a set is complete in its unpacked form, so that its archive is not needed."""
    return all(
        (data / f.unpack / (f.holds or "")).is_file() if f.unpack else (data / f.path).exists()
        for f in one.files
    )


def _room(row_plan: RowPlan, data: Path) -> None:
    if row_plan.disk_bytes > row_plan.free_bytes:
        raise CdmlLabError(
            f"{data} needs {row_plan.disk_bytes / 1e9:,.1f} GB of disk, but only "
            f"{row_plan.free_bytes / 1e9:,.1f} GB are free: nothing was downloaded"
        )


def _prepare(row_plan: RowPlan, data: Path, report: Report) -> None:
    for one in row_plan.required:
        for file in one.files:
            if unpack(file, data, _indented(report)):
                report(f"prepare: unpacked {file.path}")
        if one.about.pack is not None:
            pack = Pack(data / one.about.pack)
            count(one.about, pack)
            report(
                f"prepare: {pack.path.parent} has {len(pack):,} images of "
                f"{pack.num_identities:,} identities"
            )
    if not row_plan.required:
        report("prepare: the faces are rendered once, when the training starts")


def _train(work: RowWork, row_plan: RowPlan, options: Options, report: Report) -> Run:
    config, within = row_plan.config, work.folder / RUNS
    if options.processes == 1:
        # One process: train here. Several: let torchrun
        # start them, unless they have finished before.
        job = task.Task("reproduce", work.row.name, {}, config.seed, config.flat())
        return Run.open(task.carry_out(job, within, report).run)
    done = next(Run.finished(config.flat(), within=within), None)
    if done is None:
        _torchrun(work, row_plan, options.processes, within)
        done = next(Run.finished(config.flat(), within=within), None)
    if done is None:
        raise CdmlLabError(
            f"the training of {options.processes} processes left no finished run in {within}"
        )
    return done


def _torchrun(work: RowWork, row_plan: RowPlan, processes: int, within: Path) -> None:
    """Train in several processes, continuing a run that was started before."""
    config = row_plan.config.flat()
    # Continue the last run with the same config, or start a new one.
    started = [run for run in Run.list(within) if run.has(config)] if within.is_dir() else []
    file = work.folder / "config.yaml"
    write_text(file, yaml.safe_dump(config, sort_keys=False))
    arguments = ["--resume", str(started[-1].folder)] if started else [str(file)]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(processes),
    ]
    ended = subprocess.run(
        [*command, "-m", "cdmllab", "train", *arguments],
        check=False,
        env={**os.environ, "CDMLLAB_RUNS": str(within)},
    )
    if ended.returncode:
        raise CdmlLabError(
            f"the training of {processes} processes ended with code {ended.returncode}: see its "
            f"output for the cause; the same command continues"
        )


def _evaluate(work: RowWork, row_plan: RowPlan, run: Run, report: Report) -> dict[str, Measures]:
    net, release = weights.load_release(released(run))
    backbone = net.to(row_plan.config.device)
    measures = {}
    for name in work.row.protocols:
        if instructions := protocols.missing(name):
            raise CdmlLabError(instructions)
        # An evaluation of the same weights and images is reused.
        done, _, before = cached.evaluate(
            backbone, name, run.folder / "eval", prepare=release.preprocessing
        )
        measures[name] = done.measures
        report(f"evaluate: {name}{' (done before)' if before else ''}")
    return measures


def _accuracy(measures: Measures) -> Accuracy:
    if measures.accuracy is None:
        raise CdmlLabError(f"{measures.protocol} has fewer than two folds, so it has no accuracy")
    return measures.accuracy


def _card(work: RowWork, row_plan: RowPlan, run: Run, compared: tuple[Compared, ...]) -> None:
    # The training set is the one with a pack; the face lab has none.
    row, training = work.row, [one.about for one in row_plan.required if one.about.pack]
    card.write(
        released(run),
        work.folder / RELEASE,
        title=f"{row.title}, reproduced",
        about=f"Trained by the {row.recipe} recipe with cdmllab (preset {row.preset}, seed "
        f"{work.seed}) to reproduce a row published by {row.source}.",
        trained_on=training[0].title if training else "Rendered faces of people who do not exist",
        terms=training[0].licence if training else "MIT",
        results=[card.Result(c.protocol, c.ours, c.ours_se) for c in compared],
        notes=[*row.deviations, *row_plan.deviations],
    )


def _indented(report: Report) -> Report:
    return lambda line: report(f"  {line}")
