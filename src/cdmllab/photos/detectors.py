"""Detectors by name."""

from collections.abc import Callable
from pathlib import Path

from cdmllab.errors import CdmlLabError, did_you_mean
from cdmllab.photos.faces import Detector
from cdmllab.photos.mtcnn import Mtcnn
from cdmllab.photos.scrfd import Scrfd
from cdmllab.photos.yunet import Yunet

FROM_FILE: dict[str, Callable[[Path], Detector]] = {"yunet": Yunet, "scrfd": Scrfd}
NAMES = ("mtcnn", *FROM_FILE)


def create(name: str = "mtcnn", model: Path | None = None) -> Detector:
    """Create a face detector.

    Parameters
    ----------
    name : one of `NAMES`
    model : the file of YuNet's or SCRFD's network; MTCNN's is part of its package

    Raises
    ------
    CdmlLabError : there is no such detector, or its file is missing, or was given to one that
        needs none
    MissingPackageError : the package that runs it is not installed
    """
    if name not in NAMES:
        raise CdmlLabError(
            f"there is no detector {name!r}{did_you_mean(name, NAMES)}; there are "
            f"{', '.join(NAMES)}"
        )
    if name == "mtcnn":
        if model is not None:
            raise CdmlLabError(f"MTCNN includes its weights: {model} is for another detector")
        return Mtcnn()
    if model is None:
        raise CdmlLabError(f"{name} needs its model file: --detector-model names it")
    return FROM_FILE[name](model)
