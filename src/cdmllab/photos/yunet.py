"""YuNet (Wu, Peng and Yu 2023, https://doi.org/10.1007/s11633-023-1423-y) through OpenCV.

Its model file is ``face_detection_yunet_2023mar.onnx`` of https://github.com/opencv/opencv_zoo.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdmllab.errors import CdmlLabError, DataError, MissingPackageError, cause
from cdmllab.photos.faces import Face, Pixels

SURE = 0.6  # the confidence from which OpenCV's sample reports a face
_OVERLAP, _MOST = 0.3, 5000  # of boxes of one face; candidates


class Yunet:
    """The detector of a model file.

    Raises
    ------
    MissingPackageError : OpenCV is not installed
    CdmlLabError : the file is missing, or is not a model of YuNet
    """

    name = "YuNet (OpenCV)"

    def __init__(self, model: Path) -> None:
        try:
            import cv2
        except ModuleNotFoundError:
            raise MissingPackageError(
                "YuNet needs OpenCV, which is not installed: pip install opencv-python-headless",
                name="cv2",
            ) from None
        if not model.is_file():
            raise CdmlLabError(f"there is no file {model}")
        try:
            # Any size will do here: `find` sets that of each image.
            self._net: Any = cv2.FaceDetectorYN.create(
                str(model), "", (320, 320), SURE, _OVERLAP, _MOST
            )
        except cv2.error as error:
            raise CdmlLabError(f"{model} is not a model of YuNet ({cause(error)})") from error
        self._error: type[Exception] = cv2.error

    def find(self, pixels: Pixels) -> list[Face]:
        height, width, _ = pixels.shape
        try:
            self._net.setInputSize((width, height))
            _, rows = self._net.detect(np.ascontiguousarray(pixels[..., ::-1]))  # as BGR
        except self._error as error:
            raise DataError(f"YuNet fails on this image ({cause(error)})") from error
        return [] if rows is None else faces_of(rows)


def faces_of(rows: ArrayLike) -> list[Face]:
    """Convert OpenCV's rows of 15 numbers: left, top, width, height, five landmarks, confidence.

    Its "right eye" is the person's right eye, on the left of the image, so the order is that of
    our template.
    """
    faces = []
    for row in np.asarray(rows, dtype=np.float64):
        left, top, width, height = row[:4]
        box = np.array([left, top, left + width, top + height])
        faces.append(Face(box, row[4:14].reshape(5, 2), float(row[14])))
    return faces
