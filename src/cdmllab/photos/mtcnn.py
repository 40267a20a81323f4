"""MTCNN (Zhang et al. 2016, https://arxiv.org/abs/1604.02878), from the package facenet-pytorch.

Weights and code are those in the wheel of https://github.com/timesler/facenet-pytorch (MIT
licence). Releases before 2.6 are required: they have the same weights and pin no version of torch,
while 2.6 allows none above 2.2. So pip, the lock and CI install it like any other package, and
this project has no copy of the cascade.
"""

from typing import Any

import numpy as np
import torch

from cdmllab.errors import DataError, cause, optional
from cdmllab.photos.faces import Face, Pixels

SMALLEST_FACE_PX = 20  # side of a box; its first network sees 12 x 12 pixels


class Mtcnn:
    """P-Net, R-Net and O-Net, with the thresholds of the paper's code.

    Raises
    ------
    MissingPackageError : facenet-pytorch is not installed
    """

    name = "MTCNN (facenet-pytorch)"

    def __init__(self) -> None:
        with optional("photos", "finding faces with MTCNN"):
            from facenet_pytorch import MTCNN
        self._cascade: Any = MTCNN(keep_all=True, min_face_size=SMALLEST_FACE_PX).eval()

    def find(self, pixels: Pixels) -> list[Face]:
        if min(pixels.shape[:2]) < SMALLEST_FACE_PX:
            return []  # the package fails where its pyramid of images has no level
        try:
            with torch.no_grad():
                boxes, confidence, points = self._cascade.detect(pixels, landmarks=True)
        except (RuntimeError, ValueError, IndexError) as error:
            raise DataError(f"MTCNN fails on this image ({cause(error)})") from error
        if boxes is None:
            return []
        faces = zip(boxes, points, confidence, strict=True)
        return [
            Face(np.asarray(box, dtype=np.float64), np.asarray(five, dtype=np.float64), float(sure))
            for box, five, sure in faces
        ]
