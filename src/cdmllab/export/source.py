"""Read the backbone to export or convert: of a finished run, a release or a checkpoint."""

from pathlib import Path
from typing import Any, NamedTuple

from cdmllab import backbones, runs, training
from cdmllab.backbones import Backbone, checkpoints, weights
from cdmllab.errors import CdmlLabError
from cdmllab.preprocessing import INSIGHTFACE, Preprocessing, channels_of, check
from cdmllab.runs import Run

CHECKPOINTS = (".pth", ".pt", ".ckpt", ".tar")  # of .pth.tar too


class ExportSource(NamedTuple):
    """A trained backbone in evaluation mode, with its options, preprocessing and provenance."""

    net: Backbone
    name: str
    options: dict[str, Any]
    preprocessing: Preprocessing
    config: dict[str, Any]
    git_commit: str


def read(path: Path) -> ExportSource:
    """Read a run's folder or a ``.safetensors`` release.

    Raises
    ------
    CdmlLabError : it is neither, or the run is not finished
    """
    if not path.exists():
        raise CdmlLabError(f"{path} does not exist")
    net, release = weights.load_release(_released(path) if path.is_dir() else path)
    return ExportSource(
        net,
        release.name,
        release.options,
        release.preprocessing,
        release.config,
        release.git_commit,
    )


def _released(folder: Path) -> Path:
    """The released file of a finished run."""
    try:
        run = Run.open(folder)
        if run.status != "finished":
            raise CdmlLabError(f"{folder} is a run that is {run.status}, not finished")
        return training.released(run)
    except ValueError as error:
        raise CdmlLabError(str(error)) from error


def is_checkpoint(path: Path) -> bool:
    """Whether a file lacks our metadata: a checkpoint, or another library's ``.safetensors``."""
    if path.suffix == ".safetensors":
        return path.is_file() and not weights.is_release(path)
    return path.suffix in CHECKPOINTS


def from_checkpoint(path: Path, name: str, preprocessing: dict[str, Any]) -> ExportSource:
    """Read a checkpoint of arcface_torch, MagFace, AdaFace or CVLface, which has no metadata.

    Parameters
    ----------
    path : the file
    name : the backbone; empty for the one whose parameters fit
    preprocessing : any of ``channels``, ``mean`` and ``std``; the rest is that of the library that
        wrote the file

    Raises
    ------
    CdmlLabError : the file cannot be read, fits no backbone or not the named one, or its channels
        are ambiguous
    """
    state, origin = checkpoints.recognise(path)
    fitting = name or checkpoints.guess(state)
    if not fitting:
        raise CdmlLabError(
            f"{path} fits none of {', '.join(backbones.names())}; name one with --name to see "
            f"how it differs"
        )
    if origin.preprocessing is None and "channels" not in preprocessing:
        raise CdmlLabError(
            f"{path} is {origin.name} of an unknown library: AdaFace trains on BGR and CVLface on "
            f"RGB; choose one with --channels"
        )
    usual = origin.preprocessing or INSIGHTFACE
    # Grey images have one channel, so one mean and one std.
    if preprocessing.get("channels") == "grey":
        usual = {**usual, "mean": usual["mean"][0], "std": usual["std"][0]}
    try:
        net = weights.load(fitting, path)
        used = check({**usual, **preprocessing, "size": net.size})
    except ValueError as error:
        raise CdmlLabError(str(error)) from error
    if channels_of(used) != net.channels:
        raise CdmlLabError(
            f"{path}: {fitting} takes {net.channels} channels, but --channels is {used['channels']}"
        )
    # What the origin implies, such as MagFace's eps.
    options = weights.implied(fitting, origin)
    return ExportSource(net, fitting, options, used, {}, runs.provenance()["git_commit"] or "")
