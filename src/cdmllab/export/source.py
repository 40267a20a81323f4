"""What is exported or converted: the backbone of a finished run, or a released file."""

from pathlib import Path
from typing import Any, NamedTuple

from cdmllab import backbones, runs, training
from cdmllab.backbones import Backbone, checkpoints, weights
from cdmllab.errors import CdmlLabError
from cdmllab.preprocessing import INSIGHTFACE, Preprocessing, channels_of, check
from cdmllab.runs import Run

CHECKPOINTS = (".pth", ".pt", ".ckpt", ".tar")  # of .pth.tar too


class ExportSource(NamedTuple):
    """A trained backbone in evaluation mode, how to build and feed it, and where it comes from."""

    net: Backbone
    name: str
    options: dict[str, Any]
    preprocessing: Preprocessing
    config: dict[str, Any]
    git_commit: str


def read(path: Path) -> ExportSource:
    """A run's folder, or a ``.safetensors`` release.

    Raises
    ------
    CdmlLabError : neither of the two, or a run that is not finished
    """
    if not path.exists():
        raise CdmlLabError(f"there is neither a run nor a file {path}")
    net, said = weights.load_release(_released(path) if path.is_dir() else path)
    return ExportSource(
        net, said.name, said.options, said.preprocessing, said.config, said.git_commit
    )


def _released(folder: Path) -> Path:
    """The file with a finished run's network."""
    try:
        run = Run.open(folder)
        if run.status != "finished":
            raise CdmlLabError(f"{folder} is a run that is {run.status}, not finished")
        return training.released(run)
    except ValueError as error:
        raise CdmlLabError(str(error)) from error


def is_checkpoint(path: Path) -> bool:
    """Whether a file does not say what it is: by its ending, or a foreign ``.safetensors``."""
    if path.suffix == ".safetensors":
        return path.is_file() and not weights.is_release(path)
    return path.suffix in CHECKPOINTS


def from_checkpoint(path: Path, name: str, preprocessing: dict[str, Any]) -> ExportSource:
    """A checkpoint of arcface_torch, MagFace, AdaFace or CVLface, which does not say what it is.

    Parameters
    ----------
    path : the file
    name : the backbone; empty for the one whose parameters fit
    preprocessing : what is known of it, any of ``channels``, ``mean`` and ``std``; the rest is that
        of the code that wrote the file

    Raises
    ------
    CdmlLabError : the file cannot be read, fits no backbone or not the one named, or leaves the
        channels open
    """
    state, origin = checkpoints.recognise(path)
    fitting = name or checkpoints.guess(state)
    if not fitting:
        raise CdmlLabError(
            f"{path} fits none of {', '.join(backbones.names())}; --name tells how it differs "
            f"from one"
        )
    if origin.preprocessing is None and "channels" not in preprocessing:
        raise CdmlLabError(
            f"{path} holds {origin.name} and does not say whose: AdaFace feeds its networks BGR, "
            f"CVLface RGB; "
            "--channels says which"
        )
    usual = origin.preprocessing or INSIGHTFACE
    if preprocessing.get("channels") == "grey":
        usual = {**usual, "mean": usual["mean"][0], "std": usual["std"][0]}
    try:
        net = weights.load(fitting, path)
        used = check({**usual, **preprocessing, "size": net.size})
    except ValueError as error:
        raise CdmlLabError(str(error)) from error
    if channels_of(used) != net.channels:
        raise CdmlLabError(
            f"{path}: {fitting} takes {net.channels} channels, and --channels says "
            f"{used['channels']}"
        )
    options = weights.implied(fitting, origin)
    return ExportSource(net, fitting, options, used, {}, runs.provenance()["git_commit"] or "")
