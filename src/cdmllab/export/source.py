"""What is exported or converted: the backbone of a finished run, or a released file."""

from pathlib import Path
from typing import Any, NamedTuple

from cdmllab import backbones, runs, training
from cdmllab.backbones import Backbone, checkpoints, weights
from cdmllab.errors import CdmlLabError
from cdmllab.preprocessing import Preprocessing, check
from cdmllab.runs import Run


class Source(NamedTuple):
    """A trained backbone in evaluation mode, how to build and feed it, and where it comes from."""

    net: Backbone
    name: str
    options: dict[str, Any]
    preprocessing: Preprocessing
    config: dict[str, Any]
    git_commit: str


def read(path: Path) -> Source:
    """A run's folder, or a ``.safetensors`` release.

    Raises
    ------
    CdmlLabError : neither of the two, or a run that is not finished
    """
    if not path.exists():
        raise CdmlLabError(f"there is neither a run nor a file {path}")
    net, said = weights.load_release(_released(path) if path.is_dir() else path)
    return Source(net, said.name, said.options, said.preprocessing, said.config, said.git_commit)


def _released(folder: Path) -> Path:
    """The file with a finished run's network."""
    try:
        run = Run.open(folder)
        if run.status != "finished":
            raise CdmlLabError(f"{folder} is a run that is {run.status}, not finished")
        return training.released(run)
    except ValueError as error:
        raise CdmlLabError(str(error)) from error


def from_checkpoint(path: Path, name: str, preprocessing: dict[str, Any]) -> Source:
    """A checkpoint in arcface_torch's layout, which does not say what it is.

    Parameters
    ----------
    path : the file
    name : the backbone; empty for the one whose parameters fit
    preprocessing : without ``size``, which is the network's

    Raises
    ------
    CdmlLabError : the file cannot be read, or fits no backbone, or not the one named
    """
    fitting = name or checkpoints.guess(checkpoints.read(path))
    if not fitting:
        raise CdmlLabError(f"{path} fits none of {', '.join(backbones.names())}; --name tells how it differs from one")
    try:
        net = weights.load(fitting, path)
        used = check({**preprocessing, "size": net.size})
    except ValueError as error:
        raise CdmlLabError(str(error)) from error
    return Source(net, fitting, {}, used, {}, runs.provenance()["git_commit"] or "")
