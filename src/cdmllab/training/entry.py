"""Train, resume and load runs. A resumed run gives the same numbers as an uninterrupted one."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cdmllab import margins
from cdmllab._util import links
from cdmllab._util.processes import refuse_while_imported
from cdmllab.backbones import Backbone, weights
from cdmllab.data.sets import TrainingSet
from cdmllab.errors import CdmlLabError, reading
from cdmllab.heads import Head, sharded_state_dict
from cdmllab.preprocessing import apply, require, standard
from cdmllab.runs import FOLDER, Run
from cdmllab.training import checkpoint, datasets, earlier, holding, learnable
from cdmllab.training.config import Config
from cdmllab.training.distributed import Place, place
from cdmllab.training.earlier import BACKBONE
from cdmllab.training.loop import AtEpoch, Trainer
from cdmllab.training.recorder import Progress, Recorder, Report

HEAD = "head"


class NoDeviceError(CdmlLabError, RuntimeError):
    """A config names a device that this machine does not have."""


class Trained(NamedTuple):
    """A run with its network and its head, which has the class centres; in evaluation mode."""

    run: Run
    backbone: Backbone
    head: Head


def train(
    config: Config,
    *,
    within: Path | None = None,
    redo: bool = False,
    resume: Run | None = None,
    report: Report | None = None,
    progress: Progress | None = None,
    at_epoch: AtEpoch | None = None,
) -> Trained:
    """Train, or return the finished run of the same config on the same data.

    Parameters
    ----------
    config : of the training
    within : the folder of runs; default `cdmllab.runs.root()`
    redo : train again even if a finished run of this config exists
    resume : an unfinished run of `config`, continued from its newest checkpoint
    report : called with lines of log
    progress : called with the steps done, the number of all steps, and a line; None logs the line
    at_epoch : called before the first epoch and after each, with the number of epochs done, the
        network and the head in evaluation mode, see `cdmllab.training.Snapshots`; not called if
        the run was finished before

    Raises
    ------
    NoDeviceError : the config names CUDA and this machine has none; also a RuntimeError
    ValueError : `at_epoch` with several processes
    CdmlLabError : the data is missing (the message says how to get it), has changed since `resume`
        was started, or cannot be learnt from; another process works in the run's folder; one of
        several processes that train together ended; a script calls this outside its main guard
    DivergenceError : the loss, an embedding or a parameter is NaN or infinite; also a
        FloatingPointError. The run is marked as failed and its folder gets a diagnosis

    Examples
    --------
    Six people of the face lab, one epoch, with the smallest network:

    >>> from pathlib import Path
    >>> from cdmllab.training import Config, train
    >>> config = Config.parse({
    ...     "name": "six",
    ...     "data": {"name": "lab", "num_identities": 6, "images_per_identity": 4, "size": 32},
    ...     "backbone": {"name": "small", "embedding_dim": 8, "size": 32},
    ...     "loss": {"name": "cdml"},
    ...     "epochs": 1,
    ...     "batch_size": 8,
    ... })
    >>> trained = train(config, within=Path("runs"))
    >>> trained.run.status, trained.head.centres.shape
    ('finished', torch.Size([6, 8]))
    """
    report = report or _silent
    refuse_while_imported("training.train")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise NoDeviceError("the config has device 'cuda', but this machine has no CUDA device")
    # A config that was trained on the same data before needs no work.
    done = None if redo or resume else earlier.finished(config, within, report)
    if done is not None:
        return load(done)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)  # sums in another order round differently
    try:
        # At the end the caller's random state is as before.
        with place(config.device) as here, torch.random.fork_rng():
            if at_epoch is not None and here.world_size > 1:
                raise ValueError("at_epoch needs all class centres: train in one process")
            if not here.first:
                report, progress = _silent, None
            # Check and read everything before the run's folder exists.
            _check(config, here)
            source = _source(config, report)
            data = earlier.fingerprint(config, source)
            if resume is not None:
                earlier.refuse_other_data(resume, data, here, report)
            folder = within if resume is None else resume.folder.parent
            # Of two processes with one config, the second waits and then finds the first one's run.
            alone = holding.claimed(config, folder, here, report, wait=resume is None)
            with nullcontext(False) if redo else alone as waited:
                # Only after a wait can the config have been finished in the meantime.
                done = earlier.finished(config, within, report) if waited else None
                if done is not None:
                    return load(done)
                run = resume or _begin(config, within, here)
                with holding.held(run, here, again=resume is not None):
                    # A run keeps the precision it was started in, even on another machine.
                    precision = here.agree(earlier.precision(run) or config.speed.on(here.device))
                    if here.first:
                        run.note(data=data, precision=precision)
                    _fit(
                        run,
                        config.in_precision(precision),
                        source,
                        here,
                        report,
                        progress,
                        at_epoch,
                    )
    finally:
        torch.set_num_threads(threads)
    return load(run)


def resume(
    run: Run | Path | str, report: Report | None = None, progress: Progress | None = None
) -> Trained:
    """Continue an interrupted run; a finished one is only loaded.

    Parameters
    ----------
    run : a run or its folder
    report, progress : as for `train`

    Raises
    ------
    ValueError : the folder is not a run
    CdmlLabError : its config was edited or its data has changed since it was started; as `train`
    """
    run = _opened(run)
    if run.status == "finished":
        return load(run)
    config = earlier.config(run)
    earlier.refuse_edits(run, config)
    return train(config, resume=run, report=report, progress=progress)


def load(run: Run | Path | str) -> Trained:
    """Load the network and the head of a finished run, or of its folder, on the CPU.

    Raises
    ------
    ValueError : the folder is not a run, or the run is not finished
    """
    run = _opened(run)
    release = released(run)
    config = earlier.config(run)
    dim, count = config.backbone.embedding_dim, earlier.num_identities(run)
    if _has_centres(config):
        # Of at least two bytes a value: a false count must not take memory.
        checkpoint.require_bytes(run.folder / HEAD, 2 * dim * count)
    # Building draws random weights: leave the caller's random state as it was.
    with torch.random.fork_rng(), reading(run.folder, "a readable run"):
        backbone, _ = weights.load_release(release)
        head = config.loss.build(embedding_dim=dim, num_identities=count, seed=config.seed)
    state = sharded_state_dict(head)
    if state:  # a pair loss has no parameters
        checkpoint.read(run.folder / HEAD, state)
    return Trained(run, backbone.eval(), head.eval())


def _opened(run: Run | Path | str) -> Run:
    return run if isinstance(run, Run) else Run.open(run)


def released(run: Run) -> Path:
    """The released file of a finished run: weights, architecture and preprocessing.

    Raises
    ------
    ValueError : the run is not finished, or its folder contains a link
    """
    links.refuse(run.folder, FOLDER)
    if run.status != "finished":
        raise ValueError(
            f"{run.folder} is {run.status}: only a finished run has a released network"
        )
    return run.folder / BACKBONE


def prepare(backbone: Backbone) -> Callable[[Tensor], Tensor]:
    """The function from uint8 images to this network's input, by the field's normalisation."""
    return partial(apply, preprocessing=standard(backbone.channels, backbone.size))


def build_head(config: Config, source: TrainingSet) -> Head:
    """Create a head for a training set; the loss gets the sizes of its classes."""
    return config.loss.build(
        embedding_dim=config.backbone.embedding_dim,
        num_identities=source.num_identities,
        seed=config.seed,
        class_sizes=learnable.class_sizes(
            source.labels,
            per_identity=config.data.per_identity,
            num_identities=source.num_identities,
        ),
    )


def _silent(line: str) -> None:
    """Discard a line of log."""


def _source(config: Config, report: Report) -> TrainingSet:
    """Load the data and check that the loss can learn from it."""
    source = datasets.load(config.data.name, config.data.options)
    warning = learnable.check(
        source.labels,
        batch_size=config.batch_size,
        per_identity=config.data.per_identity,
        pair_loss=None if config.loss.name in margins.names() else config.loss.name,
    )
    if warning:
        report(warning)
    return source


def _begin(config: Config, within: Path | None, here: Place) -> Run:
    # The first process creates the folder and sends its path to the others.
    made = (
        Run.create(config.name, config.seed, config.flat(), within=within).folder
        if here.first
        else Path()
    )
    return Run.open(here.agree(str(made)))


def _fit(
    run: Run,
    config: Config,
    source: TrainingSet,
    here: Place,
    report: Report,
    progress: Progress | None,
    at_epoch: AtEpoch | None,
) -> None:
    # The network and the head, from the seed or with given weights.
    torch.manual_seed(config.seed)
    backbone = config.backbone.build()
    head = build_head(config, source)
    if config.start_from is not None:
        backbone.load_state_dict(_weights(Path(config.start_from)).state_dict())
    backbone = backbone.to(here.device).speed_up(**config.speed.model_dump())
    trainer = Trainer(run, config, source, backbone, head.to(here.device), prepare(backbone), here)
    # The state consists of the live tensors, which the newest checkpoint fills in place.
    state = trainer.state()
    resumed_at = checkpoint.load(run.folder, state, report)
    if resumed_at is not None:
        trainer.restore(state, resumed_at)
        report(f"{run.folder.name}: continuing from step {resumed_at:,}")
    # Steps after the checkpoint are taken again: remove what was logged about them.
    if here.first:
        run.drop_metrics_after(trainer.steps_taken)
    report(
        f"{run.folder.name}: {len(source):,} images of {source.num_identities:,} identities; "
        f"{trainer.steps:,} steps of {trainer.effective_batch:,} images, learning rate "
        f"{trainer.lr():g}"
    )
    # The training itself: `go` takes the steps, and the recorder writes what is due.
    recorder = Recorder(run, trainer, report, progress)
    backbone.train()
    head.train()
    # Before the first epoch; when a run is resumed it is over.
    if at_epoch is not None and trainer.step == 0:
        trainer.show(at_epoch)
    for batch, out, embeddings in trainer.go():
        recorder.step(batch, out, embeddings)
        if at_epoch is not None and trainer.step % trainer.steps_an_epoch == 0:
            trainer.show(at_epoch)
    recorder.close()
    # Store what `load` needs, then remove the checkpoints, which a finished run does not need.
    learnt = sharded_state_dict(head)
    if learnt:
        checkpoint.write(run.folder / HEAD, learnt)
    if here.first:
        keep(run, config, backbone)
        # Only now that everything is stored.
        run.finish(
            num_identities=source.num_identities,
            **(
                {"gpu": torch.cuda.get_device_name(here.device)}
                if here.device.type == "cuda"
                else {}
            ),
            train_seconds=round(trainer.seconds(), 1),
        )
        shutil.rmtree(run.folder / checkpoint.FOLDER, ignore_errors=True)
    # No process ends while the first is still writing.
    here.wait()


def _check(config: Config, here: Place) -> None:
    """Check before the first step for what would stop the training later."""
    missing = datasets.missing(config.data.name, config.data.options)
    if missing:
        raise CdmlLabError(missing)
    # One missing protocol is enough for an error.
    for name, instructions in config.watch.missing().items():
        raise CdmlLabError(f"watch.protocols needs {name}: {instructions}")
    if config.watch.truth_every and (here.world_size > 1 or not _has_centres(config)):
        raise CdmlLabError(
            "watch.truth_every needs all class centres: train in one process, without a pair loss"
        )
    if here.world_size == 1:
        return
    if config.loss.options.get("backend") != "sharded":
        raise CdmlLabError(
            f"training in {here.world_size} processes needs loss.backend=sharded (pair losses "
            f"train in one process)"
        )
    if config.speed.precision == "float16":
        raise CdmlLabError(
            "several processes train in float32 or bfloat16: in float16 each would skip other steps"
        )


def _has_centres(config: Config) -> bool:
    """Whether the loss has class centres; a loss of pairs has none."""
    return config.loss.name in (*margins.names(), *margins.recipes())


def keep(run: Run, config: Config, backbone: Backbone) -> None:
    """Write the trained network to the run's folder as a release."""
    weights.save_release(
        backbone.speed_up(),
        run.folder / BACKBONE,
        name=config.backbone.name,
        options={"embedding_dim": config.backbone.embedding_dim, **config.backbone.options},
        preprocessing=standard(backbone.channels, backbone.size),
        config=config.flat(),
        git_commit=run.record["git_commit"],
    )


def _weights(path: Path) -> Backbone:
    """Load the network of a finished run or a released file."""
    if path.is_dir():
        return weights.load_release(released(Run.open(path)))[0]
    # A released file may expect another input; a run always has the standard one, see `keep`.
    net, release = weights.load_release(path)
    try:
        require(release.preprocessing, standard(net.channels, net.size), "this training's input")
    except ValueError as error:
        raise CdmlLabError(f"start_from {path}: {error}") from None
    return net
