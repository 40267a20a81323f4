"""SCRFD (Guo et al. 2021, https://arxiv.org/abs/2105.04714) through InsightFace's package.

Its network is in a model file such as ``det_10g.onnx`` of InsightFace's model zoo.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdmllab.errors import CdmlLabError, DataError, MissingPackageError, cause
from cdmllab.photos.faces import Face, Pixels

_INPUT = (640, 640)  # what InsightFace's own application uses


class Scrfd:
    """The detector of a model file.

    Raises
    ------
    MissingPackageError : InsightFace is not installed
    CdmlLabError : the file is missing, or is not a detector with landmarks
    """

    name = "SCRFD (InsightFace)"

    def __init__(self, model: Path) -> None:
        try:
            from insightface.model_zoo import get_model
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                f"SCRFD needs {error.name}, which is not installed: "
                "pip install insightface onnxruntime",
                name=error.name,
            ) from None
        if not model.is_file():
            raise CdmlLabError(f"there is no file {model}")
        try:
            self._net: Any = get_model(str(model), providers=["CPUExecutionProvider"])
            self._net.prepare(ctx_id=-1, input_size=_INPUT)  # -1: on the CPU
            landmarks = bool(getattr(self._net, "use_kps", False))
        except Exception as error:  # ONNX Runtime and the package have a dozen kinds
            raise CdmlLabError(f"{model} is not a model of SCRFD ({cause(error)})") from error
        if not landmarks:
            raise CdmlLabError(f"{model} is not a detector with five landmarks")

    def find(self, pixels: Pixels) -> list[Face]:
        try:
            # InsightFace takes BGR, as OpenCV reads images.
            boxes, landmarks = self._net.detect(np.ascontiguousarray(pixels[..., ::-1]))
        except Exception as error:  # as above
            raise DataError(f"SCRFD fails on this image ({cause(error)})") from error
        return faces_of(boxes, landmarks)


def faces_of(boxes: ArrayLike, landmarks: ArrayLike) -> list[Face]:
    """Convert InsightFace's boxes (n, 5), confidence last, and landmarks (n, 5, 2) to faces."""
    rows = zip(np.asarray(boxes, np.float64), np.asarray(landmarks, np.float64), strict=True)
    return [Face(box[:4], five, float(box[4])) for box, five in rows]
